//! Models of both layouts with one thing wrong: the error names the tensor or file, what was expected and what is there.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use relens_models::dual_encoder::DualEncoder;
use relens_models::dual_encoder::architecture::weight_files;
use support::fixture_path;

/// A copy of an architecture fixture, its weights in the first of its files.
fn model(name: &str, directory: &Path) -> PathBuf {
    let copy = directory.join(name);
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(fixture_path("architectures").join(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    copy
}

/// Changes the tensors of the first weights file.
fn change(model: &Path, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> PathBuf {
    let file = weight_files(model).unwrap().remove(0);
    let mut tensors: BTreeMap<_, _> =
        candle_core::safetensors::load(&file, &Device::Cpu).unwrap().into_iter().collect();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors.into_iter().collect(), &file).unwrap();
    file
}

/// What opening the model, building both towers and reading the tokenizer says.
fn complaint(model: &Path) -> String {
    let tried = DualEncoder::open(model).and_then(|encoder| {
        encoder.image_encoder()?;
        encoder.text_encoder()?;
        encoder.open_tokenizer()
    });
    tried.unwrap_err().to_string()
}

fn says(complaint: &str, parts: &[&str]) {
    for part in parts {
        assert!(complaint.contains(part), "{part:?} is not in: {complaint}");
    }
}

const LAYOUTS: [&str; 2] = ["open_clip_vit", "hugging_face_siglip"];

#[test]
fn a_missing_tensor() {
    let directory = tempfile::tempdir().unwrap();
    for name in LAYOUTS {
        let model = model(name, directory.path());
        let mut missing = String::new();
        let file = change(&model, |tensors| {
            missing =
                tensors.keys().find(|name| name.contains("mlp") && name.ends_with("weight")).unwrap().clone();
            tensors.remove(&missing);
        });
        says(&complaint(&model), &[file.to_str().unwrap(), &missing, "missing", "expected shape"]);
    }
}

#[test]
fn a_tensor_of_another_shape() {
    let directory = tempfile::tempdir().unwrap();
    for name in LAYOUTS {
        let model = model(name, directory.path());
        let mut changed = String::new();
        let file = change(&model, |tensors| {
            changed =
                tensors.keys().find(|name| name.contains("mlp") && name.ends_with("weight")).unwrap().clone();
            tensors.insert(
                changed.clone(),
                Tensor::zeros((3, 5), candle_core::DType::F32, &Device::Cpu).unwrap(),
            );
        });
        says(&complaint(&model), &[file.to_str().unwrap(), &changed, "[3, 5]", "expected"]);
    }
}

#[test]
fn weights_that_are_not_numbers() {
    let directory = tempfile::tempdir().unwrap();
    for name in LAYOUTS {
        let model = model(name, directory.path());
        let mut changed = String::new();
        let file = change(&model, |tensors| {
            let (name, tensor) = tensors.iter().find(|(name, _)| name.contains("mlp")).unwrap();
            let poisoned = (tensor.to_dtype(candle_core::DType::F32).unwrap() * f64::NAN).unwrap();
            changed = name.clone();
            tensors.insert(changed.clone(), poisoned);
        });
        says(&complaint(&model), &[file.to_str().unwrap(), &changed, "NaN", "element 0", "finite"]);
    }
}

#[test]
fn an_unknown_architecture() {
    let directory = tempfile::tempdir().unwrap();
    let replace = |model: &Path, file: &str, from: &str, to: &str| {
        let path = model.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    let siglip = model("hugging_face_siglip", directory.path());
    replace(&siglip, "config.json", "\"siglip\"", "\"blip\"");
    says(&complaint(&siglip), &["config.json", "model_type", "chinese_clip", "blip"]);
    let eva = model("open_clip_eva02", directory.path());
    replace(&eva, "open_clip_config.json", "eva02_base_patch16_clip_224", "convnext_base");
    says(&complaint(&eva), &["open_clip_config.json", "timm_model_name", "eva02_base", "convnext_base"]);
}

#[test]
fn a_tokenizer_of_another_vocabulary() {
    let directory = tempfile::tempdir().unwrap();
    let bert = model("hugging_face_chinese_clip", directory.path());
    let path = bert.join("vocab.txt");
    let words = std::fs::read_to_string(&path).unwrap() + "one\ntwo\nthree\n";
    std::fs::write(&path, words).unwrap();
    says(&complaint(&bert), &["vocab.txt", "at most 90", "found 93"]);
    let clip = model("open_clip_vit", directory.path());
    std::fs::write(clip.join("vocab.json"), "{\"a\": 0}").unwrap();
    says(&complaint(&clip), &["vocab.json", "<|startoftext|>"]);
    std::fs::remove_file(clip.join("vocab.json")).unwrap();
    says(&complaint(&clip), &["open_clip_vit", "vocab.json with merges.txt"]);
}
