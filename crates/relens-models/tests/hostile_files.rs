//! Model files that somebody damaged, by accident or not: errors, never a panic, never memory without bound.
//!
//! Seeded mutations of the architecture fixtures. `PROPTEST_CASES` sets how many; `fuzz/` has the same two entry points
//! for coverage-guided fuzzing.
#![allow(clippy::unwrap_used)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use relens_models::dual_encoder::architecture::{Architecture, ImageEncoder, TextEncoder, open_weights};
use relens_models::parameters::Parameters;
use relens_models::weights::Weights;
use serde_json::Value;
use support::fixture_path;

/// No fixture is larger than some hundred kilobytes; a request for this much at once came out of a number in a file.
const LARGEST_ALLOCATION: usize = 256 << 20;

/// Refuses what no honest fixture needs; the test then aborts.
struct Bounded;

// SAFETY: every call goes to the system's allocator with the arguments as they came, or returns null, which the
// contract allows at any time.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST_ALLOCATION {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; every pointer came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST_ALLOCATION {
            return std::ptr::null_mut();
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

const MODELS: [&str; 9] = [
    "open_clip_vit",
    "open_clip_resnet",
    "open_clip_coca",
    "open_clip_eva02",
    "open_clip_siglip",
    "open_clip_chinese_resnet",
    "hugging_face_clip",
    "hugging_face_siglip",
    "hugging_face_chinese_clip",
];

fn source(model: usize) -> PathBuf {
    fixture_path("architectures").join(MODELS[model % MODELS.len()])
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "golden.safetensors" {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Opens the model and builds both towers; what comes of it is all the same.
fn open(directory: &Path) {
    let (Ok(architecture), Ok(weights)) = (Architecture::open(directory), open_weights(directory)) else {
        return;
    };
    let parameters = Parameters::frozen(weights);
    let _ = ImageEncoder::load(&parameters, &architecture.image, architecture.embed_dim);
    let _ = TextEncoder::load(&parameters, &architecture.text, architecture.embed_dim);
    let _ = relens_models::tokenizer::Tokenizer::open_directory(directory, &architecture.text.tokenizer);
}

/// All places of a JSON value that can be replaced.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| places(field, &format!("{here}/{name}"), found));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| places(item, &format!("{here}/{index}"), found));
        }
        _ => {}
    }
}

fn hostile_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(vec![
            0u64,
            1,
            2,
            3,
            5,
            7,
            63,
            64,
            4095,
            4096,
            65_536,
            1 << 31,
            1 << 53,
            u64::MAX
        ])
        .prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        Just(Value::Null),
        Just(Value::Bool(true)),
        Just(Value::Bool(false)),
        Just(serde_json::json!([])),
        Just(serde_json::json!({})),
        Just(serde_json::json!([1, 1, 1, 1])),
    ]
}

fn configuration(directory: &Path) -> PathBuf {
    let open_clip = directory.join("open_clip_config.json");
    if open_clip.is_file() { open_clip } else { directory.join("config.json") }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn configurations_with_other_values(
        model in 0..MODELS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), hostile_value()), 1..4),
    ) {
        let directory = tempfile::tempdir().unwrap();
        copy(&source(model), directory.path());
        let path = configuration(directory.path());
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for (place, value) in changes {
            let mut found = Vec::new();
            places(&config, "", &mut found);
            if let Some(field) = config.pointer_mut(place.get::<String>(&found)) {
                *field = value;
            }
        }
        std::fs::write(&path, config.to_string()).unwrap();
        open(directory.path());
    }

    #[test]
    fn configurations_with_other_bytes(
        model in 0..MODELS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        copy(&source(model), directory.path());
        let path = configuration(directory.path());
        let mut bytes = std::fs::read(&path).unwrap();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(length.index(bytes.len()) + 1 + bytes.len() / 2);
        std::fs::write(&path, bytes).unwrap();
        open(directory.path());
    }

    #[test]
    fn safetensors_with_other_bytes(
        model in 0..MODELS.len(),
        header in prop::collection::vec((0usize..4096, any::<u8>()), 0..6),
        size in prop::option::of(any::<u64>()),
        kept in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let file = relens_models::dual_encoder::architecture::weight_files(&source(model)).unwrap().remove(0);
        let mut bytes = std::fs::read(file).unwrap();
        for (place, byte) in header {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        if let Some(size) = size {
            bytes[..8].copy_from_slice(&size.to_le_bytes());
        }
        if cut {
            bytes.truncate(kept.index(bytes.len()));
        }
        if let Ok(weights) = Weights::from_bytes("hostile.safetensors", bytes) {
            for name in weights.names().map(str::to_owned).collect::<Vec<_>>() {
                let shape = weights.shape(&name).unwrap().to_vec();
                let _ = weights.tensor(&name, &shape);
            }
            let _ = weights.element_count();
        }
    }
}
