//! LoRA adapters against PEFT (tools/reference/make_lora_fixtures.py).
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use relens_models::language_model::LanguageModel;
use relens_models::language_model::gguf::Gguf;
use relens_models::language_model::llama::{LlamaConfig, LlamaModel};
use relens_models::lora::{LoraAdapter, LoraConfig};
use relens_models::parameters::{LinearStorage, Parameters};
use relens_models::tokenizer::TokenBatch;
use relens_models::weights::{ElementType, TrainableParameter, Weights, tensors_to_bytes};
use support::{assert_close, fixture, fixture_path, random, values};

const CASES: [(&str, &str); 2] = [("qwen2", "attention"), ("llama3", "every_map")];

fn base(name: &str) -> (LlamaConfig, Weights) {
    let directory = fixture_path("llama").join(name);
    let config = LlamaConfig::open(directory.join("config.json")).unwrap();
    (config, Weights::open(directory.join("model.safetensors")).unwrap())
}

fn adapter_directory(name: &str) -> PathBuf {
    fixture_path("lora").join(name)
}

fn adapted(name: &str, adapter: &Arc<LoraAdapter>) -> LlamaModel {
    let (config, weights) = base(name);
    let parameters = Parameters::frozen(weights).with_adapter(adapter.clone());
    LlamaModel::load(&parameters, &config).unwrap()
}

fn golden(base: &str) -> (HashMap<String, Tensor>, TokenBatch) {
    let golden = fixture(&format!("llama/{base}/golden.safetensors"));
    let integers = |name: &str| golden[name].to_dtype(DType::U32).unwrap().to_vec1::<u32>().unwrap();
    let offsets: Vec<usize> = integers("offsets").into_iter().map(|x| x as usize).collect();
    let batch = TokenBatch { ids: integers("ids"), truncated: vec![false; offsets.len() - 1], offsets };
    (golden, batch)
}

fn logits(model: &LlamaModel, batch: &TokenBatch) -> Tensor {
    model.logits(&model.hidden(batch).unwrap()).unwrap()
}

#[test]
fn logits_and_gradients_equal_peft() {
    for (name, case) in CASES {
        let (base, batch) = golden(name);
        let expected = fixture(&format!("lora/{case}/golden.safetensors"));
        let adapter = LoraAdapter::open(adapter_directory(case)).unwrap();
        let model = adapted(name, &adapter);
        adapter.check_attached().unwrap();
        let found = logits(&model, &batch);
        assert_close(case, &found, &expected["logits"], 1e-4, 1e-4);
        let loss = (found * &base["upstream"]).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let entries = adapter.parameters().entries();
        let count = expected.keys().filter(|name| name.starts_with("gradient.")).count();
        assert_eq!(entries.len(), count, "A and B alone are trained, of all maps");
        for (name, parameter) in entries {
            let gradient = gradients.get(parameter.var.as_tensor()).unwrap_or_else(|| panic!("{name}: none"));
            let stored = parameter.layout.to_stored(gradient).unwrap();
            let expected = &expected[&format!("gradient.{name}")];
            // What cancels in a sum of large terms keeps the terms' rounding.
            let largest = expected.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert_close(&name, &stored, expected, 1e-4 * largest.max(1.0), 1e-3);
        }
    }
}

#[test]
fn merging_changes_the_cost_and_not_the_result() {
    for (name, case) in CASES {
        let (base_golden, batch) = golden(name);
        let expected = fixture(&format!("lora/{case}/golden.safetensors"));
        let adapter = LoraAdapter::open(adapter_directory(case)).unwrap();
        let model = adapted(name, &adapter);
        let before = values(&logits(&model, &batch));
        adapter.merge();
        let merged = logits(&model, &batch);
        assert!(!merged.track_op(), "a merged model keeps no graph");
        assert_close(case, &merged, &expected["logits"], 1e-4, 1e-4);
        adapter.set_enabled(false);
        assert_close(case, &logits(&model, &batch), &base_golden["logits"], 1e-4, 1e-4);
        adapter.set_enabled(true);
        assert_eq!(values(&logits(&model, &batch)), before);

        let tensors = adapter.merged_tensors(&base(name).1).unwrap();
        let (key, weight) = expected.iter().find(|(key, _)| key.starts_with("merged.")).unwrap();
        assert_close(key, &tensors[key.trim_start_matches("merged.")], weight, 1e-5, 1e-5);
        let reload = |tensors: &BTreeMap<String, Tensor>| {
            Weights::from_bytes("merged", tensors_to_bytes(tensors, ElementType::F32).unwrap()).unwrap()
        };
        let merged = reload(&tensors);
        let model = LlamaModel::load(&Parameters::frozen(merged), &base(name).0).unwrap();
        assert_close(case, &logits(&model, &batch), &expected["logits"], 1e-4, 1e-4);
    }
}

#[test]
fn a_fresh_adapter_changes_nothing_until_it_is_trained_and_survives_its_files() {
    let (golden, batch) = golden("llama3");
    let targets = ["q_proj", "v_proj", "down_proj"].map(String::from).to_vec();
    let config = LoraConfig { rank: 2, dropout: 0.25, targets, ..LoraConfig::default() };
    let adapter = LoraAdapter::new(config.clone(), 7).unwrap();
    let model = adapted("llama3", &adapter);
    assert_eq!(adapter.modules().len(), 6);
    assert_close("fresh", &logits(&model, &batch), &golden["logits"], 1e-4, 1e-4);
    for _ in 0..2 {
        let loss = (logits(&model, &batch) * &golden["upstream"]).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        for (name, parameter) in adapter.parameters().entries() {
            let gradient = gradients.get(parameter.var.as_tensor()).unwrap_or_else(|| panic!("{name}: none"));
            let moved = (parameter.var.as_tensor() - (gradient * 0.01).unwrap()).unwrap();
            parameter.var.set(&moved).unwrap();
        }
    }
    let trained = values(&logits(&model, &batch));
    assert_ne!(trained, values(&golden["logits"]));

    adapter.set_dropout_seed(Some(1));
    let dropped = values(&logits(&model, &batch));
    assert_ne!(dropped, trained);
    assert_eq!(values(&logits(&model, &batch)), dropped, "one seed, one mask");
    adapter.set_dropout_seed(Some(2));
    assert_ne!(values(&logits(&model, &batch)), dropped);
    adapter.set_dropout_seed(None);
    assert_eq!(values(&logits(&model, &batch)), trained);

    let directory = tempfile::tempdir().unwrap();
    adapter.save(directory.path(), "tiny", "CAUSAL_LM").unwrap();
    let opened = LoraAdapter::open(directory.path()).unwrap();
    assert_eq!(opened.config(), &config);
    assert_eq!(values(&logits(&adapted("llama3", &opened), &batch)), trained);

    let again = LoraAdapter::new(config, 7).unwrap();
    adapted("llama3", &again);
    let first = |adapter: &LoraAdapter| values(&adapter.export().unwrap().pop_first().unwrap().1);
    assert_ne!(first(&again), first(&adapter), "training moved A");
}

#[test]
fn adapters_train_on_quantized_weights() {
    let gguf = Gguf::open(fixture_path("gguf/tiny.gguf")).unwrap();
    let batch = TokenBatch::from_sequences([vec![5, 6, 7, 8], vec![9]]);
    let run = |storage| {
        let targets = ["q_proj", "k_proj", "v_proj", "down_proj"].map(String::from).to_vec();
        let adapter = LoraAdapter::new(LoraConfig { targets, ..LoraConfig::default() }, 3).unwrap();
        let parameters = Parameters::frozen(gguf.weights().clone());
        let parameters = parameters.with_adapter(adapter.clone()).with_storage(storage);
        let model = LlamaModel::load(&parameters, &gguf.config().unwrap()).unwrap();
        let found = logits(&model, &batch);
        let loss = (&found * random(found.dims(), 3, 1.0)).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let entries = adapter.parameters().entries();
        assert_eq!(entries.len(), 16);
        let of = |(name, parameter): &(String, TrainableParameter)| {
            (name.clone(), gradients.get(parameter.var.as_tensor()).unwrap().clone())
        };
        (found, entries.iter().map(of).collect::<Vec<_>>())
    };
    let (widened, expected) = run(LinearStorage::Float);
    let (blocks, found) = run(LinearStorage::AsStored);
    assert_close("logits", &blocks, &widened, 1e-4, 1e-4);
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        assert_close(name, found, expected, 1e-3, 1e-3);
        assert!(name.contains("lora_A") || values(found).iter().any(|x| x.abs() > 1e-3), "{name} learns");
    }
}

#[test]
fn adapters_of_other_kinds_and_other_networks_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let source = adapter_directory("attention");
    std::fs::copy(
        source.join("adapter_model.safetensors"),
        directory.path().join("adapter_model.safetensors"),
    )
    .unwrap();
    let json = std::fs::read_to_string(source.join("adapter_config.json")).unwrap();
    for (from, to, expected) in [
        ("\"LORA\"", "\"IA3\"", "adapter_config.json: `peft_type` is \"IA3\", expected \"LORA\""),
        ("\"use_dora\": false", "\"use_dora\": true", "`use_dora` is true"),
        ("\"bias\": \"none\"", "\"bias\": \"all\"", "`bias` is \"all\""),
        ("\"modules_to_save\": null", "\"modules_to_save\": [\"head\"]", "`modules_to_save` is [\"head\"]"),
        ("\"rank_pattern\": {}", "\"rank_pattern\": {\"q\": 4}", "`rank_pattern`"),
        ("\"r\": 3", "\"r\": 0", "a rank of 1 to 4096, found 0"),
        ("\"r\": 3", "\"rank\": 3", "missing field `r`"),
    ] {
        assert!(json.contains(from), "{from}");
        std::fs::write(directory.path().join("adapter_config.json"), json.replace(from, to)).unwrap();
        let error = LoraAdapter::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    std::fs::write(directory.path().join("adapter_config.json"), json.replace("\"r\": 3", "\"r\": 2"))
        .unwrap();
    let adapter = LoraAdapter::open(directory.path()).unwrap();
    let (config, weights) = base("qwen2");
    let parameters = Parameters::frozen(weights).with_adapter(adapter);
    let error = LlamaModel::load(&parameters, &config).unwrap_err().to_string();
    assert!(error.contains("q_proj.lora_A.weight` has shape [3, 16], expected [2, 16]"), "{error}");

    let strange = LoraConfig { targets: vec!["nothing".into()], ..LoraConfig::default() };
    let adapter = LoraAdapter::new(strange, 1).unwrap();
    adapted("qwen2", &adapter);
    assert!(adapter.check_attached().unwrap_err().to_string().contains("maps named nothing, found none"));

    let adapter = LoraAdapter::open(source).unwrap();
    let (mut config, weights) = base("qwen2");
    config.layers = 1;
    LlamaModel::load(&Parameters::frozen(weights).with_adapter(adapter.clone()), &config).unwrap();
    let error = adapter.check_attached().unwrap_err().to_string();
    assert!(error.contains("layers.1.self_attn.q_proj.lora_A.weight` belongs to no adapted map"), "{error}");
}
