//! Layers: frozen and trainable ones compute the same, and refuse what does not fit.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use candle_core::Tensor;
use rand::SeedableRng;
use relens_models::layers::{
    ConcatenatedLinear, Dropout, DropoutGenerator, Embedding, LayerNorm, Linear, RmsNorm, SelfAttention,
};
use relens_models::ops::{self, AttentionConfig, AttentionMask};
use relens_models::parameters::Parameters;
use relens_models::weights::{ElementType, Weights, tensors_to_bytes};
use support::{assert_close, random, values};

/// A checkpoint in half precision, whose linear weights are stored `[out, in]`.
fn weights() -> Weights {
    let tensors = BTreeMap::from([
        ("table.weight".to_owned(), random(&[9, 8], 1, 1.0)),
        ("norm.weight".to_owned(), random(&[8], 2, 1.0)),
        ("norm.bias".to_owned(), random(&[8], 3, 1.0)),
        ("a.weight".to_owned(), random(&[16, 8], 4, 1.0)),
        ("a.bias".to_owned(), random(&[16], 5, 1.0)),
        ("b.weight".to_owned(), random(&[8, 8], 6, 1.0)),
        ("b.bias".to_owned(), random(&[8], 7, 1.0)),
    ]);
    Weights::from_bytes("layers", tensors_to_bytes(&tensors, ElementType::F16).unwrap()).unwrap()
}

/// A block that uses every layer, once.
fn block(parameters: &Parameters, ids: &[u32]) -> Tensor {
    let hidden = Embedding::load(&parameters.pp("table"), 9, 8).unwrap().forward(ids).unwrap();
    let normed =
        LayerNorm::load(&parameters.pp("norm"), 8, 1e-5).unwrap().forward_residual(&hidden, &hidden).unwrap();
    let normed = RmsNorm::load(&parameters.pp("norm"), 8, 1e-6).unwrap().forward(&normed).unwrap();
    let (a, b) =
        (Linear::load(&parameters.pp("a"), 8, 16).unwrap(), Linear::load(&parameters.pp("b"), 8, 8).unwrap());
    let attention = SelfAttention::new(
        ConcatenatedLinear::new(vec![a, b.clone()]).unwrap(),
        b,
        AttentionConfig::new(2, AttentionMask::Causal),
        Dropout::new(0.2),
    );
    attention.forward(&normed, &[0, 2, 5], None).unwrap()
}

#[test]
fn frozen_and_trainable_layers_compute_the_same() {
    let ids = [3, 8, 3, 0, 5];
    let frozen = block(&Parameters::frozen(weights()), &ids);
    assert!(!frozen.track_op());
    let (parameters, trainable) = Parameters::trainable(weights(), |_| true);
    let trained = block(&parameters, &ids);
    assert_close("block", &trained, &frozen, 1e-6, 1e-6);
    let gradients = trained.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    for (name, parameter) in trainable.entries() {
        let gradient = gradients.get(parameter.var.as_tensor()).unwrap_or_else(|| panic!("{name}: none"));
        assert!(values(gradient).iter().any(|&x| x != 0.0), "{name} has no gradient");
    }
}

#[test]
fn concatenated_maps_are_their_parts_side_by_side() {
    let parameters = Parameters::frozen(weights());
    let (a, b) =
        (Linear::load(&parameters.pp("a"), 8, 16).unwrap(), Linear::load(&parameters.pp("b"), 8, 8).unwrap());
    let x = random(&[3, 8], 8, 1.0);
    let joined = ConcatenatedLinear::new(vec![a.clone(), b.clone()]).unwrap().forward(&x).unwrap();
    let parts = Tensor::cat(&[a.forward(&x).unwrap(), b.forward(&x).unwrap()], 1).unwrap();
    assert_close("joined", &joined, &parts, 1e-6, 1e-6);
    let bare = Linear::load_without_bias(&parameters.pp("b"), 8, 8).unwrap();
    let refused = ConcatenatedLinear::new(vec![a, bare]).unwrap_err().to_string();
    assert!(refused.contains("all with a bias or all without"), "{refused}");
    assert!(ConcatenatedLinear::new(vec![]).is_err());
}

#[test]
fn frozen_tables_refuse_ids_that_they_do_not_have() {
    let (trainable, _variables) = Parameters::trainable(weights(), |_| true);
    for parameters in [Parameters::frozen(weights()), trainable] {
        let table = Embedding::load(&parameters.pp("table"), 9, 8).unwrap();
        assert!(table.forward(&[9]).unwrap_err().to_string().contains("ids below 9"));
        assert_eq!(table.forward(&[]).unwrap().dims(), [0, 8]);
    }
}

#[test]
fn dropout_draws_a_new_mask_each_time_and_none_without_a_generator() {
    let x = random(&[40, 8], 1, 1.0);
    let dropout = Dropout::new(0.5);
    assert_eq!(values(&dropout.forward(&x, None).unwrap()), values(&x));
    let mut generator = DropoutGenerator::seed_from_u64(1);
    let first = values(&dropout.forward(&x, Some(&mut generator)).unwrap());
    let second = values(&dropout.forward(&x, Some(&mut generator)).unwrap());
    assert_ne!(first, second);
    let mut again = DropoutGenerator::seed_from_u64(1);
    assert_eq!(values(&dropout.forward(&x, Some(&mut again)).unwrap()), first);
    assert!(Dropout::new(0.0).mask(Some(&mut generator)).is_none());
    assert!(Dropout::new(1.5).forward(&x, Some(&mut generator)).is_err());
    let softened = ops::softmax_last_dim(&dropout.forward(&x, Some(&mut generator)).unwrap()).unwrap();
    assert!(values(&softened).iter().all(|p| p.is_finite()));
}
