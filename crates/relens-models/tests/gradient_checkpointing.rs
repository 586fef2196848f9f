//! Gradient checkpointing: the same loss and the same gradients as with everything kept, dropout included.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use candle_core::{Tensor, Var};
use rand::SeedableRng;
use relens_models::language_model::llama::{LlamaConfig, LlamaModel};
use relens_models::language_model::t5::{T5Config, T5Model};
use relens_models::language_model::{LanguageModel, PromptTargetBatch};
use relens_models::layers::DropoutGenerator;
use relens_models::lora::{LoraAdapter, LoraConfig};
use relens_models::parameters::Parameters;
use relens_models::weights::Weights;
use serde_json::Value;
use support::{assert_close, fixture_path};

const PAIRS: [(&[u32], &[u32]); 3] =
    [(&[5, 6, 7, 8], &[9, 10, 1]), (&[11], &[12, 13, 14, 15, 1]), (&[5, 5], &[3])];

fn batch() -> PromptTargetBatch {
    PromptTargetBatch::from_pairs(PAIRS)
}

/// A loss in which every target's log-probability has a weight of its own.
fn loss(model: &dyn LanguageModel, hidden: &Tensor) -> Tensor {
    let log_probs =
        relens_models::ops::target_log_probs(&model.logits(hidden).unwrap(), &batch().targets.ids).unwrap();
    let weights = Tensor::arange(1f32, 1.0 + log_probs.elem_count() as f32, log_probs.device()).unwrap();
    (log_probs * weights).unwrap().sum_all().unwrap()
}

fn assert_same(name: &str, model: &dyn LanguageModel, variables: &[(String, Var)]) {
    let generator = || Some(DropoutGenerator::seed_from_u64(3));
    let kept = loss(model, &model.target_hidden(&batch(), generator().as_mut()).unwrap());
    let expected = kept.backward().unwrap();
    let pass = model.checkpointed_target_hidden(&batch(), generator()).unwrap();
    let again = loss(model, pass.hidden());
    assert_close(name, &again, &kept, 0.0, 1e-6);
    let mut found = again.backward().unwrap();
    let all: Vec<Var> = variables.iter().map(|(_, var)| var.clone()).collect();
    pass.backward(&mut found, &all).unwrap();
    for (tensor, var) in variables {
        let expected = expected.get(var).unwrap_or_else(|| panic!("{name}: no gradient reaches {tensor}"));
        let found = found.get(var).unwrap_or_else(|| panic!("{name}: none comes back to {tensor}"));
        let largest = expected.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert_close(&format!("{name} {tensor}"), found, expected, 1e-5 * largest.max(1e-3), 1e-4);
    }
}

fn t5(version: &str, dropout_rate: f32) -> (T5Config, Weights) {
    let text = std::fs::read_to_string(fixture_path(&format!("{version}.json"))).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let config = T5Config::from_json(&golden["config"].to_string(), Path::new("config.json")).unwrap();
    let weights = Weights::open(fixture_path(&format!("{version}.safetensors"))).unwrap();
    (T5Config { dropout_rate, ..config }, weights)
}

fn llama(family: &str) -> (LlamaConfig, Weights) {
    let directory = fixture_path("llama").join(family);
    let config = LlamaConfig::open(directory.join("config.json")).unwrap();
    (config, Weights::open(directory.join("model.safetensors")).unwrap())
}

#[test]
fn t5_with_and_without_dropout() {
    for (version, dropout_rate) in [("t5_v1_0", 0.0), ("t5_v1_0", 0.3), ("t5_v1_1", 0.2)] {
        let (config, weights) = t5(version, dropout_rate);
        let (parameters, trainable) = Parameters::trainable(weights, |_| true);
        let model = T5Model::load(&parameters, &config).unwrap();
        let entries = trainable.entries().into_iter().map(|(name, parameter)| (name, parameter.var));
        assert_same(version, &model, &entries.collect::<Vec<_>>());
    }
}

#[test]
fn decoders_with_rotary_positions_and_with_biases_by_distance() {
    for family in ["llama3", "qwen3", "baichuan2_13b"] {
        let (config, weights) = llama(family);
        let (parameters, trainable) = Parameters::trainable(weights, |_| true);
        let model = LlamaModel::load(&parameters, &config).unwrap();
        let entries = trainable.entries().into_iter().map(|(name, parameter)| (name, parameter.var));
        assert_same(family, &model, &entries.collect::<Vec<_>>());
    }
}

#[test]
fn adapters_with_dropout() {
    let settings = LoraConfig { rank: 2, dropout: 0.3, ..LoraConfig::default() };
    let entries = |adapter: &LoraAdapter| -> Vec<(String, Var)> {
        let found: Vec<(String, Var)> = adapter
            .parameters()
            .entries()
            .into_iter()
            .map(|(name, parameter)| (name, parameter.var))
            .collect();
        for (name, var) in found.iter().filter(|(name, _)| name.contains("lora_B")) {
            // B begins as 0, where nothing that A does can be seen.
            var.set(&Tensor::full(0.05f32, var.dims(), var.device()).unwrap())
                .unwrap_or_else(|_| panic!("{name}"));
        }
        found
    };
    let adapter = LoraAdapter::new(settings.clone(), 1).unwrap();
    let (config, weights) = llama("llama3");
    let parameters = Parameters::frozen(weights).with_adapter(adapter.clone());
    let model = LlamaModel::load(&parameters, &config).unwrap();
    assert_same("llama3 adapted", &model, &entries(&adapter));
    let adapter = LoraAdapter::new(settings, 1).unwrap();
    let (config, weights) = t5("t5_v1_0", 0.2);
    let parameters = Parameters::frozen(weights).with_adapter(adapter.clone());
    let model = T5Model::load(&parameters, &config).unwrap();
    assert_same("T5 adapted", &model, &entries(&adapter));
}

#[test]
fn a_loss_that_does_not_depend_on_the_states_is_refused() {
    let (config, weights) = llama("llama3");
    let (parameters, _variables) = Parameters::trainable(weights, |_| true);
    let model = LlamaModel::load(&parameters, &config).unwrap();
    let pass = model.checkpointed_target_hidden(&batch(), None).unwrap();
    let elsewhere = Var::ones(1, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
    let mut store = elsewhere.sum_all().unwrap().backward().unwrap();
    assert!(pass.backward(&mut store, &[]).unwrap_err().to_string().contains("no gradient"));
}
