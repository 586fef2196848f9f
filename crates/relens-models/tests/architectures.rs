//! Every architecture against open_clip and transformers (tools/reference/make_architecture_fixtures.py), from the
//! files that those libraries write.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use relens_models::dual_encoder::DualEncoder;
use relens_models::dual_encoder::architecture::{Architecture, ImageEncoder, TextEncoder, open_weights};
use relens_models::parameters::Parameters;
use relens_models::tokenizer::TokenBatch;
use support::{assert_close, fixture_path, values};

fn directory(name: &str) -> PathBuf {
    fixture_path("architectures").join(name)
}

fn golden(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(directory(name).join("golden.safetensors"), &Device::Cpu).unwrap()
}

fn tokens(golden: &HashMap<String, Tensor>) -> TokenBatch {
    let offsets: Vec<usize> = values(&golden["offsets"]).iter().map(|&x| x as usize).collect();
    TokenBatch {
        ids: values(&golden["ids"]).iter().map(|&x| x as u32).collect(),
        truncated: vec![false; offsets.len() - 1],
        offsets,
    }
}

fn check_values(name: &str) {
    let (architecture, golden) = (Architecture::open(&directory(name)).unwrap(), golden(name));
    let parameters = Parameters::frozen(open_weights(&directory(name)).unwrap());
    let text = TextEncoder::load(&parameters, &architecture.text, architecture.embed_dim).unwrap();
    let embeddings = text.encode(&tokens(&golden)).unwrap();
    assert_close(&format!("{name}: texts"), &embeddings, &golden["text_embeddings"], 1e-5, 0.0);
    let image = ImageEncoder::load(&parameters, &architecture.image, architecture.embed_dim).unwrap();
    let embeddings = image.encode(&golden["images"]).unwrap();
    assert_close(&format!("{name}: pictures"), &embeddings, &golden["image_embeddings"], 1e-5, 0.0);
}

/// The tokenizer that the model's own files describe gives the ids that the library's tokenizer gave.
fn check_tokens(name: &str) {
    let content = std::fs::read_to_string(directory(name).join("tokens.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&content).unwrap();
    let texts: Vec<String> = serde_json::from_value(golden["texts"].clone()).unwrap();
    let expected: Vec<Vec<u32>> = serde_json::from_value(golden["ids"].clone()).unwrap();
    let encoder = DualEncoder::open(directory(name)).unwrap();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let tokens = encoder.open_tokenizer().unwrap().encode_batch(&texts).unwrap();
    for (i, text) in texts.iter().enumerate() {
        assert_eq!(tokens.sequence(i).unwrap(), expected[i], "{name}: {text:?}");
    }
    assert_eq!(encoder.encode_text(&tokens).unwrap().dims(), [texts.len(), encoder.embed_dim()]);
}

/// All tensors of the text side are trainable, and their gradients are PyTorch's.
fn check_gradients(name: &str) {
    let (architecture, golden) = (Architecture::open(&directory(name)).unwrap(), golden(name));
    let weights = open_weights(&directory(name)).unwrap();
    let (parameters, trainable) = Parameters::trainable(weights, |_| true);
    let text = TextEncoder::load(&parameters, &architecture.text, architecture.embed_dim).unwrap();
    let embeddings = text.encode(&tokens(&golden)).unwrap();
    let loss = (embeddings * &golden["upstream"]).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    let expected: Vec<&String> = golden.keys().filter(|name| name.starts_with("gradient.")).collect();
    assert_eq!(trainable.entries().len(), expected.len(), "{name}: number of trainable tensors");
    for (tensor, parameter) in trainable.entries() {
        let gradient = gradients.get(parameter.var.as_tensor());
        let gradient = gradient.unwrap_or_else(|| panic!("{name}: {tensor} has no gradient"));
        let stored = parameter.layout.to_stored(gradient).unwrap();
        let expected = &golden[&format!("gradient.{tensor}")];
        let largest = values(expected).iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        assert_close(&format!("{name}: {tensor}"), &stored, expected, 1e-6 + 1e-3 * largest.min(1e-1), 1e-3);
    }
}

macro_rules! architectures {
    ($($name:ident)*) => {$(
        mod $name {
            #[test]
            fn computes_the_reference_embeddings() {
                super::check_values(stringify!($name));
            }

            #[test]
            fn cuts_texts_as_the_reference_does() {
                super::check_tokens(stringify!($name));
            }

            #[test]
            fn computes_the_reference_gradients_of_the_text_side() {
                super::check_gradients(stringify!($name));
            }
        }
    )*};
}

architectures! {
    open_clip_vit
    open_clip_resnet
    open_clip_chinese_resnet
    open_clip_coca
    open_clip_eva02
    open_clip_siglip
    hugging_face_clip
    hugging_face_siglip
    hugging_face_chinese_clip
    original_chinese_clip
}
