//! Model directories that are damaged: the error names the file or tensor, what was expected and what was found.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::model_directory;
use crate::workplace::{Workplace, errors};

const WEIGHTS: &str = "open_clip_model.safetensors";

/// Damages a fresh model, embeds a picture and a text with it, and returns what is said.
#[track_caller]
fn refusal(damage: impl FnOnce(&Path)) -> String {
    let workplace = Workplace::new();
    let model = workplace.path("damaged");
    model_directory::write(&model, 3);
    damage(&model);
    workplace.pictures(".", 1);
    let arguments =
        ["embed", "--json", "--model", "damaged", "--image", "picture-000.png", "--text", "a red cat"];
    let assert = workplace.relens(&arguments).assert().code(1);
    let errors = errors(&assert);
    assert!(!errors.contains("panicked"), "{errors}");
    errors
}

#[track_caller]
fn says(errors: &str, parts: &[&str]) {
    for part in parts {
        assert!(errors.contains(part), "`{part}` is not in: {errors}");
    }
}

/// Rewrites the weights with one tensor changed (`Some`) or left out (`None`).
fn replace(model: &Path, name: &str, with: Option<&(Dtype, Vec<usize>, Vec<u8>)>) {
    let path = model.join(WEIGHTS);
    let bytes = fs_err::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut views: Vec<(String, TensorView<'_>)> =
        tensors.tensors().into_iter().filter(|(other, _)| other != name).collect();
    assert_eq!(views.len() + 1, tensors.len(), "{name} is no tensor of the model");
    if let Some((dtype, shape, data)) = with {
        views.push((name.to_owned(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    }
    let changed = safetensors::serialize(views, None).unwrap();
    fs_err::write(path, changed).unwrap();
}

#[test]
fn truncated_weights() {
    for keep in [0, 4, 7, 100, 20_000] {
        let errors = refusal(|model| {
            let bytes = fs_err::read(model.join(WEIGHTS)).unwrap();
            fs_err::write(model.join(WEIGHTS), &bytes[..keep]).unwrap();
        });
        says(&errors, &[WEIGHTS]);
    }
}

#[test]
fn a_header_that_lies_about_its_length() {
    let errors = refusal(|model| {
        let mut bytes = fs_err::read(model.join(WEIGHTS)).unwrap();
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        fs_err::write(model.join(WEIGHTS), bytes).unwrap();
    });
    says(&errors, &[WEIGHTS]);
}

#[test]
fn a_missing_tensor() {
    let name = "visual.trunk.blocks.3.1.conv_dw.weight";
    says(&refusal(|model| replace(model, name, None)), &[name]);
}

#[test]
fn a_tensor_of_another_shape() {
    let name = "text.proj.weight";
    let errors =
        refusal(|model| replace(model, name, Some(&(Dtype::F32, vec![16, 32], vec![0; 4 * 16 * 32]))));
    says(&errors, &[name, "[32, 32]", "[16, 32]"]);
}

#[test]
fn weights_that_are_not_numbers() {
    let name = "visual.head.proj.weight";
    let values: Vec<u8> = std::iter::repeat_n(f32::NAN.to_le_bytes(), 32 * 1280).flatten().collect();
    says(&refusal(|model| replace(model, name, Some(&(Dtype::F32, vec![32, 1280], values)))), &[name, "NaN"]);
}

#[test]
fn missing_files() {
    for file in [WEIGHTS, "open_clip_config.json", "config.json", "tokenizer.json"] {
        says(&refusal(|model| fs_err::remove_file(model.join(file)).unwrap()), &[file]);
    }
}

#[test]
fn files_that_are_not_json() {
    for file in ["open_clip_config.json", "config.json", "tokenizer.json"] {
        says(&refusal(|model| fs_err::write(model.join(file), "{\"model_cfg\": ").unwrap()), &[file]);
    }
}

#[test]
fn an_unknown_image_tower() {
    let errors = refusal(|model| {
        let path: PathBuf = model.join("open_clip_config.json");
        let text = fs_err::read_to_string(&path).unwrap();
        fs_err::write(&path, text.replace("tf_efficientnet_lite0", "resnet9000")).unwrap();
    });
    says(&errors, &["resnet9000"]);
}

#[test]
fn a_tokenizer_with_more_words_than_the_text_tower_knows() {
    let errors = refusal(|model| {
        let path = model.join("tokenizer.json");
        let text = fs_err::read_to_string(&path).unwrap();
        let mut tokenizer: serde_json::Value = serde_json::from_str(&text).unwrap();
        tokenizer["model"]["vocab"]["red"] = 4_000_000.into();
        fs_err::write(&path, tokenizer.to_string()).unwrap();
    });
    says(&errors, &["4000000"]);
}
