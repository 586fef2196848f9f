//! A BERT that reads and a T5 that writes, against transformers (tools/reference/make_bert_t5_fixtures.py).
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use candle_core::Tensor;
use relens_models::language_model::bert_t5::{BertT5Config, BertT5Model};
use relens_models::language_model::generation::{GenerationConfig, Strategy, generate};
use relens_models::language_model::{self, LanguageModel, PromptTargetBatch};
use relens_models::parameters::Parameters;
use relens_models::weights::Weights;
use serde_json::Value;
use support::{assert_close, fixture, fixture_path, values};

fn golden() -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture_path("bert_t5.json")).unwrap()).unwrap()
}

fn config() -> BertT5Config {
    BertT5Config::from_json(&golden()["config"].to_string(), Path::new("config.json")).unwrap()
}

fn weights() -> Weights {
    Weights::open(fixture_path("bert_t5.safetensors")).unwrap()
}

fn frozen() -> BertT5Model {
    BertT5Model::load(&Parameters::frozen(weights()), &config()).unwrap()
}

fn sequences(name: &str) -> Vec<Vec<u32>> {
    serde_json::from_value(golden()[name].clone()).unwrap()
}

fn batch() -> PromptTargetBatch {
    PromptTargetBatch::from_pairs(sequences("prompts").into_iter().zip(sequences("targets")))
}

fn logits(model: &BertT5Model, batch: &PromptTargetBatch) -> Tensor {
    model.logits(&model.target_hidden(batch, None).unwrap()).unwrap()
}

#[test]
fn logits_equal_transformers_frozen_and_trainable() {
    let expected = &fixture("bert_t5.safetensors")["golden.logits"];
    let found = logits(&frozen(), &batch());
    assert!(!found.track_op(), "a frozen model keeps no graph");
    assert_close("frozen", &found, expected, 1e-4, 0.0);
    let (parameters, _variables) = Parameters::trainable(weights(), |name| !name.starts_with("encoder."));
    let model = BertT5Model::load(&parameters, &config()).unwrap();
    assert_close("trainable", &logits(&model, &batch()), expected, 1e-4, 0.0);
}

#[test]
fn every_gradient_equals_transformers() {
    let golden = fixture("bert_t5.safetensors");
    let (parameters, variables) = Parameters::trainable(weights(), |_| true);
    let model = BertT5Model::load(&parameters, &config()).unwrap();
    let loss = (logits(&model, &batch()) * &golden["golden.upstream"]).unwrap().sum_all().unwrap();
    let checkpointed = model.checkpointed_target_hidden(&batch(), None).unwrap();
    let again = model.logits(checkpointed.hidden()).unwrap();
    let again = (again * &golden["golden.upstream"]).unwrap().sum_all().unwrap().backward().unwrap();
    let store = loss.backward().unwrap();
    let entries = variables.entries();
    let expected = golden.keys().filter(|name| name.starts_with("gradient.")).count();
    assert_eq!(entries.len(), expected, "{:?}", entries.iter().map(|(name, _)| name).collect::<Vec<_>>());
    for (name, parameter) in entries {
        let variable = parameter.var.as_tensor();
        let gradient = store.get(variable).unwrap_or_else(|| panic!("no gradient reaches {name}"));
        assert_eq!(values(gradient), values(again.get(variable).unwrap()), "{name}, checkpointed");
        let found = parameter.layout.to_stored(gradient).unwrap();
        let expected = &golden[&format!("gradient.{name}")];
        let largest = values(expected).iter().fold(0.0f32, |largest, g| largest.max(g.abs()));
        assert_close(&name, &found, expected, 5e-4 * largest + 1e-6, 5e-4);
    }
}

#[test]
fn a_frozen_encoder_gets_no_gradient_and_the_decoder_all_of_it() {
    let (parameters, variables) = Parameters::trainable(weights(), |name| !name.starts_with("encoder."));
    let model = BertT5Model::load(&parameters, &config()).unwrap();
    let store = logits(&model, &batch()).sum_all().unwrap().backward().unwrap();
    let entries = variables.entries();
    assert!(entries.iter().any(|(name, _)| name == "memory.weight"));
    for (name, parameter) in entries {
        assert!(!name.starts_with("encoder."));
        assert!(store.get(parameter.var.as_tensor()).is_some(), "no gradient reaches {name}");
    }
}

#[test]
fn steps_of_any_size_equal_teacher_forcing_and_greedy_decoding_equals_transformers() {
    let batch = batch();
    let (parameters, _variables) = Parameters::trainable(weights(), |_| true);
    let model = BertT5Model::load(&parameters, &config()).unwrap();
    let expected = values(&logits(&model, &batch));
    let vocabulary = model.vocabulary_size();
    for chunk in [1, 3, 40] {
        for row in 0..batch.len() {
            let prompt = [batch.prompts.sequence(row).unwrap()];
            let target = batch.targets.sequence(row).unwrap();
            let mut decoder =
                model.decoder(&relens_models::tokenizer::TokenBatch::from_sequences(prompt)).unwrap();
            let mut inputs = vec![decoder.first_token(0).unwrap()];
            inputs.extend(&target[..target.len() - 1]);
            let mut found = Vec::new();
            for tokens in inputs.chunks(chunk) {
                let step = decoder.step(&[tokens]).unwrap();
                assert!(!step.track_op(), "decoding keeps no graph");
                found.extend(values(&step));
            }
            let first = batch.targets.offsets[row] * vocabulary;
            for (found, expected) in found.iter().zip(&expected[first..]) {
                assert!((found - expected).abs() < 2e-5, "row {row}, {chunk} at a time");
            }
        }
    }
    let config = GenerationConfig { max_new_tokens: 12, strategy: Strategy::Greedy, ..Default::default() };
    let written = generate(&frozen(), &batch.prompts, &config).unwrap();
    let written: Vec<Vec<u32>> = written.into_iter().map(|mut found| found.swap_remove(0).tokens).collect();
    assert_eq!(written, sequences("greedy"));
}

#[test]
fn a_directory_of_this_type_opens_as_any_language_model() {
    let directory = tempfile::tempdir().unwrap();
    fs_err::write(directory.path().join("config.json"), golden()["config"].to_string()).unwrap();
    let model = language_model::load(directory.path(), &Parameters::frozen(weights())).unwrap();
    assert_eq!((model.width(), model.vocabulary_size(), model.context_length()), (16, 24, 48));
}

#[test]
fn what_cannot_be_is_refused() {
    let json = golden()["config"].to_string();
    for (from, to, expected) in [
        ("\"vocab_size\":24", "\"vocab_size\":41", "`decoder.vocab_size` is 41, expected at most"),
        ("\"d_ff\":28", "\"d_ff\":0", "`decoder`: `d_ff` is 0"),
        ("\"hidden_size\":12", "\"hidden_size\":13", "`encoder`: `num_attention_heads` is 3"),
    ] {
        assert!(json.contains(from), "{from} in {json}");
        let changed = json.replacen(from, to, 1);
        let error = BertT5Config::from_json(&changed, Path::new("config.json")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let model = frozen();
    let refused = |pairs: &[(&[u32], &[u32])]| {
        let batch = PromptTargetBatch::from_pairs(pairs.iter().copied());
        model.target_log_probs(&batch, None).unwrap_err().to_string()
    };
    assert!(refused(&[(&[3], &[1]), (&[], &[1])]).starts_with("sample 1: expected a prompt of 1 to 48"));
    assert!(refused(&[(&[40], &[1])]).contains("ids below 40"));
    assert!(refused(&[(&[3], &[30, 1])]).contains("24"), "{}", refused(&[(&[3], &[30, 1])]));
}
