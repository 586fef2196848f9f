//! The objectives of rewriters against PyTorch's values and gradients.
//! The fixture is made by `tools/reference/make_rewriter_objectives_fixtures.py`.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor, Var};
use relens_training::objectives::{
    AdvantageConfig, GroupRollouts, clipped_policy_loss, clipped_value_loss, generalized_advantages,
    group_advantages, group_relative_loss, masked_cross_entropy, preference_ranking, sequence_means, whiten,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    cross_entropy: Vec<CrossEntropyCase>,
    pro: Vec<ProCase>,
    gae: Vec<GaeCase>,
    ppo: PpoCase,
    grpo: GrpoCase,
}

#[derive(Deserialize)]
struct CrossEntropyCase {
    label_smoothing: f64,
    rows: usize,
    classes: usize,
    logits: Vec<f32>,
    targets: Vec<u32>,
    mask: Vec<bool>,
    loss: f32,
    gradient: Vec<f32>,
}

#[derive(Deserialize)]
struct ProCase {
    offsets: Vec<usize>,
    rewards: Vec<Vec<f32>>,
    token_log_probs: Vec<f32>,
    loss: f32,
    gradient: Vec<f32>,
}

#[derive(Deserialize)]
struct GaeCase {
    gamma: f64,
    lambda: f64,
    offsets: Vec<usize>,
    rewards: Vec<f32>,
    values: Vec<f32>,
    advantages: Vec<f32>,
    returns: Vec<f32>,
    whitened: Vec<f32>,
}

#[derive(Deserialize)]
struct PpoCase {
    log_probs: Vec<f32>,
    old_log_probs: Vec<f32>,
    advantages: Vec<f32>,
    clip_range: f64,
    loss: f32,
    gradient: Vec<f32>,
    clip_fraction: f64,
    ratio: f64,
    approximate_kl: f64,
    values: Vec<f32>,
    old_values: Vec<f32>,
    returns: Vec<f32>,
    value_loss: f32,
    value_gradient: Vec<f32>,
}

#[derive(Deserialize)]
struct GrpoCase {
    offsets: Vec<usize>,
    group: usize,
    rewards: Vec<f32>,
    group_advantages: Vec<f32>,
    log_probs: Vec<f32>,
    old_log_probs: Vec<f32>,
    reference_log_probs: Vec<f32>,
    clip_range: f64,
    kl_coefficient: f64,
    loss: f32,
    gradient: Vec<f32>,
    kl: f64,
}

fn fixture() -> Fixture {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/rewriter_objectives.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn var(values: &[f32]) -> Var {
    Var::from_slice(values, values.len(), &Device::Cpu).unwrap()
}

fn assert_close(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let tolerance = 2e-5 * (1.0 + expected.abs());
        assert!((found - expected).abs() <= tolerance, "{name}[{index}]: {found}, PyTorch {expected}");
    }
}

/// Compares a loss, and its gradient with respect to `var`.
fn assert_loss(name: &str, loss: &Tensor, expected: f32, var: &Var, gradient: &[f32]) {
    assert_close(name, &[loss.to_scalar().unwrap()], &[expected]);
    let store = loss.backward().unwrap();
    let found: Vec<f32> = store.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    assert_close(&format!("gradient of {name}"), &found, gradient);
}

#[test]
fn masked_cross_entropy_equals_pytorch() {
    let cases = fixture().cross_entropy;
    assert_eq!(cases.len(), 2);
    for case in cases {
        let logits = Var::from_vec(case.logits, (case.rows, case.classes), &Device::Cpu).unwrap();
        let loss = masked_cross_entropy(&logits, &case.targets, &case.mask, case.label_smoothing).unwrap();
        assert_loss("cross-entropy", &loss, case.loss, &logits, &case.gradient);
        assert!(masked_cross_entropy(&logits, &case.targets, &[false; 6], 0.0).is_err());
        assert!(masked_cross_entropy(&logits, &case.targets[1..], &case.mask, 0.0).is_err());
    }
}

#[test]
fn preference_ranking_equals_pytorch() {
    for case in fixture().pro {
        let tokens = var(&case.token_log_probs);
        let means = sequence_means(&tokens, &case.offsets).unwrap();
        let loss = preference_ranking(&means, &case.rewards).unwrap();
        assert_loss("PRO", &loss, case.loss, &tokens, &case.gradient);
    }
}

#[test]
fn generalized_advantages_equal_pytorch() {
    for case in fixture().gae {
        let config = AdvantageConfig { gamma: case.gamma, lambda: case.lambda };
        let mut found = generalized_advantages(&case.rewards, &case.values, &case.offsets, config).unwrap();
        assert_close("advantages", &found.advantages, &case.advantages);
        assert_close("returns", &found.returns, &case.returns);
        whiten(&mut found.advantages);
        assert_close("whitened", &found.advantages, &case.whitened);
        assert!(generalized_advantages(&case.rewards, &case.values, &[0, 4], config).is_err());
    }
}

#[test]
fn the_clipped_losses_equal_pytorch() {
    let case = fixture().ppo;
    let log_probs = var(&case.log_probs);
    let policy =
        clipped_policy_loss(&log_probs, &case.old_log_probs, &case.advantages, case.clip_range).unwrap();
    assert_loss("PPO", &policy.loss, case.loss, &log_probs, &case.gradient);
    assert!(case.clip_fraction > 0.0, "the case must clip something");
    assert!((policy.clip_fraction - case.clip_fraction).abs() < 1e-9);
    assert!((policy.ratio - case.ratio).abs() < 1e-5);
    assert!((policy.approximate_kl - case.approximate_kl).abs() < 1e-5);
    let values = var(&case.values);
    let loss = clipped_value_loss(&values, &case.old_values, &case.returns, case.clip_range).unwrap();
    assert_loss("value loss", &loss, case.value_loss, &values, &case.value_gradient);
}

#[test]
fn before_the_first_update_every_token_has_its_whole_gradient() {
    // ρ = 1 everywhere: both sides of the maximum are equal, and neither may swallow half of the gradient.
    let log_probs = var(&[-1.0, -2.0]);
    let policy = clipped_policy_loss(&log_probs, &[-1.0, -2.0], &[2.0, -4.0], 0.2).unwrap();
    assert_loss("PPO", &policy.loss, 1.0, &log_probs, &[-1.0, 2.0]);
}

#[test]
fn group_relative_loss_equals_pytorch() {
    let case = fixture().grpo;
    let per_sequence = group_advantages(&case.rewards, case.group, true).unwrap();
    assert_close("group advantages", &per_sequence, &case.group_advantages);
    let advantages: Vec<f32> = case
        .offsets
        .windows(2)
        .zip(&per_sequence)
        .flat_map(|(span, &advantage)| vec![advantage; span[1] - span[0]])
        .collect();
    let log_probs = var(&case.log_probs);
    let rollouts = GroupRollouts {
        old_log_probs: &case.old_log_probs,
        reference_log_probs: &case.reference_log_probs,
        advantages: &advantages,
        offsets: &case.offsets,
    };
    let found = group_relative_loss(&log_probs, rollouts, case.clip_range, case.kl_coefficient).unwrap();
    assert_loss("GRPO", &found.loss, case.loss, &log_probs, &case.gradient);
    assert!((found.kl - case.kl).abs() < 1e-5);
    assert!(group_advantages(&case.rewards, 3, true).is_err());
    assert_eq!(group_advantages(&[3.0, 3.0], 2, true).unwrap(), [0.0, 0.0]);
}
