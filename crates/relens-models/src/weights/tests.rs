use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use super::{ElementType, Weights, save_tensors, tensors_to_bytes};
use crate::error::ModelError;
use crate::parameters::Parameters;

fn sample() -> BTreeMap<String, Tensor> {
    let matrix = Tensor::from_vec((0..6).map(|i| i as f32 - 2.5).collect(), (2, 3), &Device::Cpu).unwrap();
    let bias = Tensor::from_vec(vec![1.0f32, -2.0], 2, &Device::Cpu).unwrap();
    BTreeMap::from([("layer.weight".to_owned(), matrix), ("layer.bias".to_owned(), bias)])
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn round_trips_in_every_element_type() {
    for element in [ElementType::F32, ElementType::F16, ElementType::Bf16] {
        let bytes = tensors_to_bytes(&sample(), element).unwrap();
        let weights = Weights::from_bytes("sample", bytes).unwrap();
        let matrix = weights.tensor("layer.weight", &[2, 3]).unwrap();
        assert_eq!(values(&matrix), [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], "{element:?}");
        let mut row = [0.0; 3];
        weights.stored("layer.weight", &[2, 3]).unwrap().read_row(1, &mut row).unwrap();
        assert_eq!(row, [0.5, 1.5, 2.5]);
        assert!(weights.stored("layer.weight", &[2, 3]).unwrap().read_row(2, &mut row).is_err());
    }
}

#[test]
fn every_truncation_is_refused_without_a_panic() {
    let bytes = tensors_to_bytes(&sample(), ElementType::F32).unwrap();
    for length in 0..bytes.len() {
        let error = Weights::from_bytes("cut.safetensors", bytes[..length].to_vec()).unwrap_err();
        assert!(error.to_string().contains("cut.safetensors"), "{error}");
    }
}

#[test]
fn corrupt_bytes_never_panic() {
    let bytes = tensors_to_bytes(&sample(), ElementType::F32).unwrap();
    for position in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut corrupt = bytes.clone();
            corrupt[position] ^= flip;
            if let Ok(weights) = Weights::from_bytes("corrupt", corrupt) {
                let _ = weights.tensor("layer.weight", &[2, 3]);
            }
        }
    }
}

#[test]
fn errors_name_tensor_expected_and_found() {
    let weights =
        Weights::from_bytes("model.safetensors", tensors_to_bytes(&sample(), ElementType::F32).unwrap())
            .unwrap();
    let missing = weights.tensor("layer.scale", &[3]).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "model.safetensors: tensor `layer.scale` is missing (expected shape [3])"
    );
    let shape = weights.tensor("layer.weight", &[3, 2]).unwrap_err();
    assert_eq!(
        shape.to_string(),
        "model.safetensors: tensor `layer.weight` has shape [2, 3], expected [3, 2]"
    );
}

#[test]
fn not_a_number_is_refused_with_its_position() {
    let mut bytes = tensors_to_bytes(&sample(), ElementType::F32).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    let weights = Weights::from_bytes("nan", bytes).unwrap();
    let error = weights.tensor("layer.weight", &[2, 3]).unwrap_err();
    assert!(matches!(error, ModelError::NonFiniteTensor { position: 5, .. }), "{error}");
}

#[test]
fn half_precision_refuses_what_would_overflow() {
    let large = Tensor::from_vec(vec![70_000.0f32], 1, &Device::Cpu).unwrap();
    let error = tensors_to_bytes(&BTreeMap::from([("x".to_owned(), large)]), ElementType::F16).unwrap_err();
    assert!(matches!(error, ModelError::NonFiniteTensor { .. }), "{error}");
}

#[test]
fn trainable_parameters_are_transposed_and_exported_back() {
    let weights =
        Weights::from_bytes("model", tensors_to_bytes(&sample(), ElementType::F32).unwrap()).unwrap();
    let (parameters, trainable) = Parameters::trainable(weights, |name| name.ends_with("weight"));
    let layer = parameters.pp("layer");
    let weight = layer.linear_weight("weight", 3, 2).unwrap();
    assert_eq!(weight.dims(), [3, 2]);
    assert!(weight.is_variable());
    assert!(!layer.tensor("bias", &[2]).unwrap().is_variable());
    assert_eq!(trainable.element_count(), 6);
    let entry = &trainable.entries()[0].1;
    entry.var.set(&(entry.var.as_tensor() + 1.0).unwrap()).unwrap();
    let exported = trainable.export().unwrap();
    assert_eq!(values(&exported["layer.weight"]), [-1.5, -0.5, 0.5, 1.5, 2.5, 3.5]);
    assert_eq!(exported["layer.weight"].dims(), [2, 3]);
}

#[test]
fn merged_files_may_not_repeat_a_name() {
    let part =
        || Weights::from_bytes("part", tensors_to_bytes(&sample(), ElementType::F32).unwrap()).unwrap();
    assert!(Weights::merge([part(), part()]).is_err());
    let both = Weights::merge([part(), part().with_prefix("second.")]).unwrap();
    assert!(both.contains("layer.bias") && both.contains("second.layer.bias"));
}

#[test]
fn a_failed_save_keeps_the_old_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    save_tensors(&path, &sample(), ElementType::F32).unwrap();
    let before = std::fs::read(&path).unwrap();
    let bad = Tensor::from_vec(vec![f32::NAN], 1, &Device::Cpu).unwrap();
    assert!(save_tensors(&path, &BTreeMap::from([("x".to_owned(), bad)]), ElementType::F32).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(save_tensors(&directory.path().join("none/model"), &sample(), ElementType::F32).is_err());
}

#[test]
fn an_overlay_replaces_tensors_of_its_base_and_adds_none() {
    let of = |tensors: &BTreeMap<String, Tensor>| {
        Weights::from_bytes("part.safetensors", tensors_to_bytes(tensors, ElementType::F32).unwrap()).unwrap()
    };
    let change = |name: &str, values: Vec<f32>| {
        let length = values.len();
        of(&BTreeMap::from([(name.to_owned(), Tensor::from_vec(values, length, &Device::Cpu).unwrap())]))
    };
    let base = of(&sample());
    let overlaid = base.overlaid(&change("layer.bias", vec![7.0, 8.0])).unwrap();
    assert_eq!(values(&overlaid.tensor("layer.bias", &[2]).unwrap()), [7.0, 8.0]);
    assert_eq!(values(&overlaid.tensor("layer.weight", &[2, 3]).unwrap())[0], -2.5);
    assert!(matches!(
        base.overlaid(&change("layer.scale", vec![1.0])),
        Err(ModelError::MissingTensor { .. })
    ));
    assert!(matches!(base.overlaid(&change("layer.bias", vec![1.0])), Err(ModelError::TensorShape { .. })));
}
