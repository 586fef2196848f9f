//! Decoders of the Llama family against transformers (tools/reference/make_llama_fixtures.py).
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use relens_models::language_model::llama::{LlamaConfig, LlamaModel};
use relens_models::language_model::{LanguageModel, PromptTargetBatch};
use relens_models::parameters::Parameters;
use relens_models::tokenizer::TokenBatch;
use relens_models::weights::Weights;
use support::{assert_close, fixture, fixture_path};

const FAMILIES: [&str; 8] =
    ["llama2", "llama3", "vicuna", "smollm2", "qwen2", "qwen3", "baichuan2_7b", "baichuan2_13b"];

fn directory(family: &str) -> PathBuf {
    fixture_path("llama").join(family)
}

fn config(family: &str) -> LlamaConfig {
    LlamaConfig::open(directory(family).join("config.json")).unwrap()
}

fn weights(family: &str) -> Weights {
    Weights::open(directory(family).join("model.safetensors")).unwrap()
}

fn golden(family: &str) -> HashMap<String, Tensor> {
    fixture(&format!("llama/{family}/golden.safetensors"))
}

fn integers(tensor: &Tensor) -> Vec<u32> {
    tensor.to_dtype(DType::U32).unwrap().to_vec1().unwrap()
}

fn batch(golden: &HashMap<String, Tensor>) -> TokenBatch {
    let offsets: Vec<usize> = integers(&golden["offsets"]).iter().map(|&x| x as usize).collect();
    TokenBatch { ids: integers(&golden["ids"]), truncated: vec![false; offsets.len() - 1], offsets }
}

fn logits(model: &LlamaModel, batch: &TokenBatch) -> Tensor {
    model.logits(&model.hidden(batch).unwrap()).unwrap()
}

#[test]
fn logits_equal_the_reference_frozen_and_trainable() {
    for family in FAMILIES {
        let golden = golden(family);
        let batch = batch(&golden);
        let frozen = LlamaModel::load(&Parameters::frozen(weights(family)), &config(family)).unwrap();
        let found = logits(&frozen, &batch);
        assert!(!found.track_op(), "a frozen model keeps no graph");
        assert_close(family, &found, &golden["logits"], 1e-4, 1e-4);
        let (parameters, _) = Parameters::trainable(weights(family), |_| true);
        let trainable = LlamaModel::load(&parameters, &config(family)).unwrap();
        assert_close(family, &logits(&trainable, &batch), &golden["logits"], 1e-4, 1e-4);
    }
}

#[test]
fn every_gradient_equals_the_reference() {
    for family in FAMILIES {
        let golden = golden(family);
        let (parameters, trainable) = Parameters::trainable(weights(family), |_| true);
        let model = LlamaModel::load(&parameters, &config(family)).unwrap();
        let loss = (logits(&model, &batch(&golden)) * &golden["upstream"]).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let expected = golden.keys().filter(|name| name.starts_with("gradient.")).count();
        assert_eq!(trainable.entries().len(), expected, "every tensor of the checkpoint is trainable");
        for (name, parameter) in trainable.entries() {
            let gradient = gradients.get(parameter.var.as_tensor()).unwrap_or_else(|| panic!("{name}: none"));
            let stored = parameter.layout.to_stored(gradient).unwrap();
            let expected = &golden[&format!("gradient.{name}")];
            let largest = expected.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert_close(&format!("{family} {name}"), &stored, expected, 1e-4 * largest.max(1.0), 1e-3);
        }
    }
}

#[test]
fn a_batch_equals_its_sequences_one_by_one() {
    for family in ["llama3", "baichuan2_13b"] {
        let batch = batch(&golden(family));
        let model = LlamaModel::load(&Parameters::frozen(weights(family)), &config(family)).unwrap();
        let together = model.hidden(&batch).unwrap();
        for i in 0..batch.len() {
            let ids = batch.sequence(i).unwrap().to_vec();
            let alone = TokenBatch { offsets: vec![0, ids.len()], truncated: vec![false], ids };
            let rows = together.narrow(0, batch.offsets[i], alone.ids.len()).unwrap();
            assert_close(family, &rows, &model.hidden(&alone).unwrap(), 1e-5, 1e-5);
        }
    }
}

fn decodes_as_the_reference(family: &str, model: &LlamaModel, golden: &HashMap<String, Tensor>) {
    let prompts = batch(golden);
    let expected = integers(&golden["generated"]);
    let count = expected.len() / prompts.len();
    let mut decoder = model.decoder(&prompts).unwrap();
    let mut next: Vec<u32> = (0..prompts.len()).map(|row| decoder.first_token(row).unwrap()).collect();
    for step in 0..count {
        let rows: Vec<&[u32]> = next.chunks(1).collect();
        let scores = decoder.step(&rows).unwrap();
        next = integers(&scores.argmax(1).unwrap());
        let wanted: Vec<u32> = (0..prompts.len()).map(|row| expected[row * count + step]).collect();
        assert_eq!(next, wanted, "{family}, step {step}");
    }
    assert_eq!(decoder.fed(0), count);
}

#[test]
fn greedy_decoding_with_kept_keys_equals_the_reference_without() {
    for family in FAMILIES {
        let golden = golden(family);
        let frozen = LlamaModel::load(&Parameters::frozen(weights(family)), &config(family)).unwrap();
        decodes_as_the_reference(family, &frozen, &golden);
    }
    let (parameters, _) = Parameters::trainable(weights("qwen3"), |_| true);
    let trainable = LlamaModel::load(&parameters, &config("qwen3")).unwrap();
    decodes_as_the_reference("trainable qwen3", &trainable, &golden("qwen3"));
}

#[test]
fn several_tokens_a_step_equal_one_and_rows_can_be_reordered_and_cut() {
    for family in ["llama3", "baichuan2_13b"] {
        let model = LlamaModel::load(&Parameters::frozen(weights(family)), &config(family)).unwrap();
        let prompts = TokenBatch::from_sequences([vec![5, 6, 7], vec![8], vec![9, 10, 11, 12]]);
        let mut slow = model.decoder(&prompts).unwrap();
        slow.step(&[&[7], &[8], &[12]]).unwrap();
        slow.step(&[&[20], &[21], &[22]]).unwrap();
        let expected = slow.step(&[&[30], &[31], &[32]]).unwrap();

        let mut fast = model.decoder(&prompts).unwrap();
        let scores = fast.step(&[&[7, 20, 30], &[8, 21, 31, 3, 3], &[12, 22]]).unwrap();
        assert_eq!(scores.dims(), [10, 40]);
        for (row, at) in [(0, 2), (1, 5)] {
            let (found, wanted) = (scores.narrow(0, at, 1).unwrap(), expected.narrow(0, row, 1).unwrap());
            assert_close(family, &found, &wanted, 1e-5, 1e-5);
        }
        fast.truncate(1, 2).unwrap();
        assert_eq!((fast.fed(0), fast.fed(1), fast.fed(2)), (3, 2, 2));
        fast.reorder(&[2, 1, 1]).unwrap();
        let found = fast.step(&[&[32], &[31], &[31]]).unwrap();
        for (row, was) in [(0, 2), (1, 1), (2, 1)] {
            let (found, wanted) = (found.narrow(0, row, 1).unwrap(), expected.narrow(0, was, 1).unwrap());
            assert_close(family, &found, &wanted, 1e-5, 1e-5);
        }
        assert!(fast.reorder(&[3]).is_err());
        assert!(fast.truncate(0, 9).is_err());
        assert!(fast.step(&[&[1], &[1]]).is_err());
        assert!(fast.step(&[&[1], &[], &[1]]).is_err());
        let error = fast.step(&[&[1], &[1; 62], &[1]]).unwrap_err().to_string();
        assert!(error.starts_with("sample 1: expected at most 64 tokens"), "{error}");
    }
}

#[test]
fn target_states_are_those_of_the_whole_sequence() {
    let model = LlamaModel::load(&Parameters::frozen(weights("llama3")), &config("llama3")).unwrap();
    let pairs: [(&[u32], &[u32]); 3] = [(&[5, 6, 7], &[8, 2]), (&[9], &[10, 11, 2]), (&[4, 4], &[])];
    let found = model.target_hidden(&PromptTargetBatch::from_pairs(pairs), None).unwrap();
    assert_eq!(found.dims(), [5, 16]);
    let mut row = 0;
    for (prompt, target) in pairs {
        let whole = TokenBatch::from_sequences([[prompt, target].concat()]);
        let states = model.hidden(&whole).unwrap();
        for i in 0..target.len() {
            let expected = states.narrow(0, prompt.len() - 1 + i, 1).unwrap();
            assert_close("state", &found.narrow(0, row, 1).unwrap(), &expected, 1e-5, 1e-5);
            row += 1;
        }
    }
    let long = PromptTargetBatch::from_pairs([(vec![3; 2], vec![3; 2]), (vec![3; 40], vec![3; 30])]);
    let error = model.target_hidden(&long, None).unwrap_err().to_string();
    assert!(error.starts_with("sample 1: expected a target of at most 24 tokens"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let path = Path::new("some/config.json");
    let json = std::fs::read_to_string(directory("llama3").join("config.json")).unwrap();
    for (from, to, expected) in [
        ("\"llama\"", "\"mamba\"", "some/config.json: `model_type` is `mamba`, expected one of llama, qwen2"),
        ("\"vocab_size\": 40", "\"vocab_size\": 0", "`vocab_size` is 0, expected 1 to"),
        ("\"vocab_size\": 40", "\"vocab_size\": -1", "vocab_size: invalid value: integer `-1`"),
        ("\"vocab_size\": 40", "\"vocab\": 40", "missing field `vocab_size`"),
        (
            "\"num_key_value_heads\": 2",
            "\"num_key_value_heads\": 3",
            "expected a divisor of `num_attention_heads` 4",
        ),
        ("\"head_dim\": 8", "\"head_dim\": 7", "`head_dim` is 7, expected an even number"),
        ("\"silu\"", "\"wave\"", "`hidden_act` is `wave`, expected silu"),
        ("\"eos_token_id\": 2", "\"eos_token_id\": [2, 40]", "`eos_token_id` is 40, expected less than"),
        ("\"rope_type\": \"llama3\"", "\"rope_type\": \"yarn\"", "`rope_parameters.rope_type` is `yarn`"),
        ("\"factor\": 8.0,", "", "missing field `rope_parameters.factor`"),
        ("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 2", "`rms_norm_eps` is 2"),
        ("{", "[", "some/config.json: "),
    ] {
        assert!(json.contains(from), "{from}");
        let error = LlamaConfig::from_json(&json.replace(from, to), path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut wrong = config("llama3");
    wrong.feed_forward_width = 23;
    let error = LlamaModel::load(&Parameters::frozen(weights("llama3")), &wrong).unwrap_err().to_string();
    let expected = "tensor `model.layers.0.mlp.gate_proj.weight` has shape [24, 16], expected [23, 16]";
    assert!(error.contains(expected), "{error}");

    let model = LlamaModel::load(&Parameters::frozen(weights("llama3")), &config("llama3")).unwrap();
    let long = TokenBatch { ids: vec![5; 65], offsets: vec![0, 65], truncated: vec![false] };
    let error = model.hidden(&long).unwrap_err().to_string();
    assert_eq!(error, "sample 0: expected at most 64 tokens, the context's length, found 65 tokens");
    let unknown = TokenBatch { ids: vec![40], offsets: vec![0, 1], truncated: vec![false] };
    assert!(model.hidden(&unknown).unwrap_err().to_string().contains("id 40"));
}
