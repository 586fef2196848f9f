//! Towers in eight bits: near the f32 ones, and what cannot be done with them.
#![allow(clippy::unwrap_used)]

mod support;

use candle_core::{Device, Tensor};
use relens_models::dual_encoder::{DualEncoder, Precision};
use relens_models::ops::{Finish, Int8Matrix, int8_linear};
use support::{fixture_path, random, values};

fn open(name: &str) -> DualEncoder {
    DualEncoder::open(fixture_path("architectures").join(name)).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn embeddings_stay_near_those_of_f32() {
    for name in [
        "open_clip_vit",
        "open_clip_coca",
        "open_clip_eva02",
        "hugging_face_siglip",
        "hugging_face_chinese_clip",
    ] {
        let (float, int8) = (open(name), open(name).with_precision(Precision::Int8));
        let side = float.architecture().image.tower.image_size();
        let images = random(&[3, side, side, 3], 5, 1.5);
        let tokens =
            float.open_tokenizer().unwrap().encode_batch(&["a dog", "two cats on a red chair"]).unwrap();
        for (what, expected, found) in [
            ("pictures", float.encode_image(&images).unwrap(), int8.encode_image(&images).unwrap()),
            ("texts", float.encode_text(&tokens).unwrap(), int8.encode_text(&tokens).unwrap()),
        ] {
            let dim = float.embed_dim();
            for (expected, found) in values(&expected).chunks(dim).zip(values(&found).chunks(dim)) {
                let near = cosine(expected, found);
                assert!(near > 0.99 && expected != found, "{name}, {what}: cosine {near}");
            }
        }
    }
}

/// Some rows with others around them, and the same rows alone.
#[test]
fn rows_are_rounded_each_on_its_own() {
    let matrix = Int8Matrix::quantize(&values(&random(&[70 * 50], 1, 1.0)), 70, 50).unwrap();
    let x = random(&[13, 50], 2, 3.0);
    let all = int8_linear(&x, &matrix, None, Finish::default()).unwrap();
    for (first, rows) in [(0, 1), (4, 5), (12, 1)] {
        let alone =
            int8_linear(&x.narrow(0, first, rows).unwrap(), &matrix, None, Finish::default()).unwrap();
        assert_eq!(values(&all.narrow(0, first, rows).unwrap()), values(&alone));
    }
}

#[test]
fn shapes_are_checked() {
    let matrix = Int8Matrix::quantize(&[0.5; 12], 3, 4).unwrap();
    let x = Tensor::zeros((2, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
    let error = int8_linear(&x, &matrix, None, Finish::default()).unwrap_err().to_string();
    assert!(error.contains("[.., 4]") && error.contains("[2, 5]"), "{error}");
}
