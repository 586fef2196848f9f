//! T5 against transformers (tools/reference/make_t5_fixtures.py), teacher forced and step by step.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use candle_core::Tensor;
use rand::SeedableRng;
use relens_models::language_model::t5::{T5Config, T5Model};
use relens_models::language_model::{LanguageModel, PromptTargetBatch};
use relens_models::layers::DropoutGenerator;
use relens_models::parameters::Parameters;
use relens_models::tokenizer::TokenBatch;
use relens_models::weights::{TrainableParameters, Weights};
use serde_json::Value;
use support::{assert_close, fixture, fixture_path, values};

const VERSIONS: [&str; 3] = ["t5_v1_0", "t5_v1_1", "t5_silu"];

fn golden(version: &str) -> Value {
    let text = std::fs::read_to_string(fixture_path(&format!("{version}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn config(version: &str) -> T5Config {
    T5Config::from_json(&golden(version)["config"].to_string(), Path::new("config.json")).unwrap()
}

fn weights(version: &str) -> Weights {
    Weights::open(fixture_path(&format!("{version}.safetensors"))).unwrap()
}

fn frozen(version: &str) -> T5Model {
    T5Model::load(&Parameters::frozen(weights(version)), &config(version)).unwrap()
}

fn trainable(version: &str) -> (T5Model, std::sync::Arc<TrainableParameters>) {
    let (parameters, variables) = Parameters::trainable(weights(version), |_| true);
    (T5Model::load(&parameters, &config(version)).unwrap(), variables)
}

fn sequences(value: &Value) -> Vec<Vec<u32>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn batch(version: &str) -> PromptTargetBatch {
    let golden = golden(version);
    let (prompts, targets) = (sequences(&golden["prompts"]), sequences(&golden["targets"]));
    PromptTargetBatch::from_pairs(prompts.into_iter().zip(targets))
}

fn logits(model: &T5Model, batch: &PromptTargetBatch) -> Tensor {
    model.logits(&model.target_hidden(batch, None).unwrap()).unwrap()
}

#[test]
fn logits_equal_transformers_frozen_and_trainable() {
    for version in VERSIONS {
        let expected = &fixture(&format!("{version}.safetensors"))["golden.logits"];
        let found = logits(&frozen(version), &batch(version));
        assert!(!found.track_op(), "a frozen model keeps no graph");
        assert_close(version, &found, expected, 1e-4, 0.0);
        assert_close(version, &logits(&trainable(version).0, &batch(version)), expected, 1e-4, 0.0);
    }
}

#[test]
fn every_gradient_equals_transformers() {
    for version in VERSIONS {
        let golden = fixture(&format!("{version}.safetensors"));
        let (model, variables) = trainable(version);
        let loss = (logits(&model, &batch(version)) * &golden["golden.upstream"]).unwrap().sum_all().unwrap();
        let store = loss.backward().unwrap();
        let names: Vec<String> = variables.entries().into_iter().map(|(name, _)| name).collect();
        let expected = golden.keys().filter(|name| name.starts_with("gradient.")).count();
        assert_eq!(names.len(), expected, "{version}: {names:?}");
        for (name, parameter) in variables.entries() {
            let gradient = store.get(parameter.var.as_tensor());
            let gradient = gradient.unwrap_or_else(|| panic!("{version}: no gradient reaches {name}"));
            let found = parameter.layout.to_stored(gradient).unwrap();
            let expected = &golden[&format!("gradient.{name}")];
            let largest = values(expected).iter().fold(0.0f32, |largest, g| largest.max(g.abs()));
            assert_close(&format!("{version} {name}"), &found, expected, 5e-4 * largest, 5e-4);
        }
    }
}

#[test]
fn steps_of_any_size_equal_teacher_forcing() {
    for version in VERSIONS {
        let batch = batch(version);
        let (model, _variables) = trainable(version);
        let expected = logits(&model, &batch);
        for chunk in [1, 3, 40] {
            let mut decoder = model.decoder(&batch.prompts).unwrap();
            let mut rows: Vec<Vec<Tensor>> = vec![Vec::new(); batch.len()];
            let inputs: Vec<Vec<u32>> = (0..batch.len())
                .map(|i| {
                    let target = batch.targets.sequence(i).unwrap();
                    let mut input = vec![decoder.first_token(i).unwrap()];
                    input.extend(&target[..target.len() - 1]);
                    input
                })
                .collect();
            // Rows that are through are dropped, so that the others move up.
            let mut live: Vec<usize> = (0..batch.len()).collect();
            let mut fed = 0;
            while !live.is_empty() {
                let end = |i: usize| inputs[i].len().min(fed + chunk);
                let tokens: Vec<&[u32]> = live.iter().map(|&i| &inputs[i][fed..end(i)]).collect();
                let logits = decoder.step(&tokens).unwrap();
                assert!(!logits.track_op(), "decoding keeps no graph");
                let mut first = 0;
                for (&i, tokens) in live.iter().zip(&tokens) {
                    rows[i].push(logits.narrow(0, first, tokens.len()).unwrap());
                    first += tokens.len();
                }
                fed += chunk;
                let kept: Vec<usize> = (0..live.len()).filter(|&row| inputs[live[row]].len() > fed).collect();
                decoder.reorder(&kept).unwrap();
                live = kept.iter().map(|&row| live[row]).collect();
            }
            let found = Tensor::cat(&rows.concat(), 0).unwrap();
            assert_close(&format!("{version}, {chunk} at a time"), &found, &expected, 2e-5, 1e-5);
        }
    }
}

#[test]
fn what_was_truncated_is_forgotten_and_repeated_rows_part() {
    let model = frozen("t5_v1_1");
    let batch = batch("t5_v1_1");
    let prompts = TokenBatch::from_sequences([batch.prompts.sequence(2).unwrap()]);
    let step = |decoder: &mut dyn relens_models::language_model::Decoder, tokens: &[&[u32]]| {
        values(&decoder.step(tokens).unwrap())
    };
    let mut decoder = model.decoder(&prompts).unwrap();
    let expected = step(decoder.as_mut(), &[&[0, 5, 6, 7]]);
    let expected_last = &expected[3 * 48..];

    let mut decoder = model.decoder(&prompts).unwrap();
    step(decoder.as_mut(), &[&[0, 5, 9, 9]]);
    decoder.truncate(0, 2).unwrap();
    assert_eq!(decoder.fed(0), 2);
    decoder.reorder(&[0, 0]).unwrap();
    let both = step(decoder.as_mut(), &[&[6], &[11]]);
    assert_ne!(both[..48], both[48..]);
    let after = step(decoder.as_mut(), &[&[7], &[7]]);
    for (a, b) in after[..48].iter().zip(expected_last) {
        assert!((a - b).abs() < 2e-5, "{a} is not {b}");
    }
    assert_ne!(after[..48], after[48..]);
    assert!(decoder.truncate(0, 5).unwrap_err().to_string().contains("at most the 4 tokens that were fed"));
    assert!(decoder.truncate(2, 0).unwrap_err().to_string().contains("one of 2 rows, found row 2"));
    assert!(decoder.reorder(&[2]).is_err());
    assert!(decoder.step(&[&[1]]).unwrap_err().to_string().contains("each of 2 rows"));
    assert!(decoder.step(&[&[1], &[]]).is_err());
    assert!(decoder.step(&[&[1], &[48]]).unwrap_err().to_string().contains("ids below 48"));
}

#[test]
fn dropout_follows_the_generator() {
    let (model, batch) = (frozen("t5_v1_0"), batch("t5_v1_0"));
    let run = |seed: u64| {
        let mut generator = DropoutGenerator::seed_from_u64(seed);
        values(&model.target_log_probs(&batch, Some(&mut generator)).unwrap())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    assert_ne!(run(1), values(&model.target_log_probs(&batch, None).unwrap()));
}

#[test]
fn samples_that_do_not_fit_are_named() {
    let model = frozen("t5_v1_0");
    let refused = |pairs: Vec<(Vec<u32>, Vec<u32>)>| {
        model.target_hidden(&PromptTargetBatch::from_pairs(pairs), None).unwrap_err().to_string()
    };
    let ok = (vec![5, 1], vec![6, 1]);
    assert_eq!(
        refused(vec![ok.clone(), (vec![], vec![1])]),
        "sample 1: expected a prompt of 1 to 64 tokens, found 0 tokens"
    );
    assert!(refused(vec![(vec![5; 65], vec![1])]).starts_with("sample 0: expected a prompt of 1 to 64"));
    assert!(
        refused(vec![ok.clone(), (vec![5], vec![1; 65])])
            .contains("sample 1: expected a target of at most 64")
    );
    assert!(refused(vec![ok, (vec![48], vec![1])]).contains("ids below 48"));
    let empty = TokenBatch::from_sequences([vec![5u32], vec![]]);
    let error = model.decoder(&empty).err().unwrap().to_string();
    assert!(error.starts_with("sample 1: expected a prompt"), "{error}");
    let mut decoder = model.decoder(&TokenBatch::from_sequences([[5u32]])).unwrap();
    decoder.step(&[&[3; 64]]).unwrap();
    let error = decoder.step(&[&[3]]).unwrap_err().to_string();
    assert_eq!(error, "sample 0: expected at most 64 tokens after the prompt, found 65 tokens");
    let none = PromptTargetBatch::from_pairs(Vec::<(Vec<u32>, Vec<u32>)>::new());
    assert_eq!(model.target_log_probs(&none, None).unwrap().dims(), [0]);
}

#[test]
fn configurations_that_cannot_be_are_refused() {
    let json = golden("t5_v1_1")["config"].to_string();
    for (from, to, expected) in [
        ("\"d_model\":16", "\"d_model\":0", "`d_model` is 0"),
        ("\"d_model\":16", "\"d_model\":99999999999", "`d_model` is 99999999999"),
        ("\"d_model\":16", "\"d_model\":\"wide\"", "config.json: invalid type"),
        ("gated-gelu", "gated-wave", "`feed_forward_proj` is `gated-wave`, expected relu"),
        (
            "\"relative_attention_num_buckets\":8",
            "\"relative_attention_num_buckets\":3",
            "an even number from 4",
        ),
        (
            "\"relative_attention_max_distance\":20",
            "\"relative_attention_max_distance\":4",
            "more than half of the 8",
        ),
        ("\"eos_token_id\":1", "\"eos_token_id\":48", "`eos_token_id` is 48, expected below"),
        ("\"eos_token_id\":1", "\"eos_token_id\":[]", "`eos_token_id` is an empty list"),
        ("{", "[", "config.json: "),
    ] {
        assert!(json.contains(from), "{from}");
        let changed = json.replacen(from, to, 1);
        let error = T5Config::from_json(&changed, Path::new("config.json")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let narrower = T5Config { d_model: 8, ..config("t5_v1_1") };
    let error = T5Model::load(&Parameters::frozen(weights("t5_v1_1")), &narrower).unwrap_err().to_string();
    assert!(error.contains("tensor `shared.weight` has shape [48, 16], expected [48, 8]"), "{error}");
    let deeper = T5Config { num_layers: 3, ..config("t5_v1_1") };
    let error = T5Model::load(&Parameters::frozen(weights("t5_v1_1")), &deeper).unwrap_err().to_string();
    assert!(error.contains("tensor `encoder.block.2.layer.0.SelfAttention.q.weight` is missing"), "{error}");
}
