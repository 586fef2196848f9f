//! The BERT encoder and its tokenizer against transformers (tools/reference/make_text_fixtures.py).
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use rand::SeedableRng;
use relens_models::layers::DropoutGenerator;
use relens_models::ops;
use relens_models::parameters::Parameters;
use relens_models::tokenizer::{TokenBatch, Tokenizer};
use relens_models::towers::bert::{BertConfig, BertModel};
use relens_models::weights::{ElementType, Weights, save_tensors};
use support::{assert_close, fixture, fixture_path, values};

fn tiny_config() -> BertConfig {
    BertConfig::open(fixture_path("bert_config.json")).unwrap()
}

fn tiny_weights() -> Weights {
    Weights::open(fixture_path("bert.safetensors")).unwrap()
}

fn golden_batch() -> TokenBatch {
    let golden = fixture("bert.safetensors");
    let offsets: Vec<usize> = values(&golden["golden.offsets"]).iter().map(|&x| x as usize).collect();
    TokenBatch {
        ids: values(&golden["golden.ids"]).iter().map(|&x| x as u32).collect(),
        truncated: vec![false; offsets.len() - 1],
        offsets,
    }
}

/// The loss whose gradients are in the fixture.
fn golden_loss(hidden: &Tensor, batch: &TokenBatch) -> Tensor {
    let pooled = ops::mean_pool(hidden, &batch.offsets).unwrap();
    (pooled * &fixture("bert.safetensors")["golden.upstream"]).unwrap().sum_all().unwrap()
}

#[test]
fn hidden_states_equal_transformers_frozen_and_trainable() {
    let (golden, batch) = (fixture("bert.safetensors"), golden_batch());
    let frozen = BertModel::load(&Parameters::frozen(tiny_weights()), &tiny_config()).unwrap();
    let hidden = frozen.forward(&batch).unwrap();
    assert!(!hidden.track_op(), "a frozen model keeps no graph");
    assert_close("hidden", &hidden, &golden["golden.hidden"], 1e-5, 1e-5);
    let pooled = ops::mean_pool(&hidden, &batch.offsets).unwrap();
    assert_close("pooled", &pooled, &golden["golden.pooled"], 1e-5, 1e-5);

    let (parameters, _) = Parameters::trainable(tiny_weights(), |_| true);
    let trainable = BertModel::load(&parameters, &tiny_config()).unwrap();
    assert_close("trainable", &trainable.forward(&batch).unwrap(), &golden["golden.hidden"], 1e-5, 1e-5);
}

#[test]
fn every_gradient_equals_transformers() {
    let (golden, batch) = (fixture("bert.safetensors"), golden_batch());
    let (parameters, trainable) = Parameters::trainable(tiny_weights(), |_| true);
    let model = BertModel::load(&parameters, &tiny_config()).unwrap();
    let gradients = golden_loss(&model.forward(&batch).unwrap(), &batch).backward().unwrap();
    let expected = golden.keys().filter(|name| name.starts_with("gradient.")).count();
    assert_eq!(trainable.entries().len(), expected, "every tensor of the checkpoint is trainable");
    for (name, parameter) in trainable.entries() {
        let gradient = gradients.get(parameter.var.as_tensor()).unwrap_or_else(|| panic!("{name}: none"));
        let stored = parameter.layout.to_stored(gradient).unwrap();
        assert_close(&name, &stored, &golden[&format!("gradient.{name}")], 1e-4, 1e-3);
    }
}

#[test]
fn selected_layers_train_and_the_others_stay_as_they_are() {
    let (batch, config) = (golden_batch(), tiny_config());
    let selects = BertModel::selects_last_layers(&config, 1, false);
    let (parameters, trainable) = Parameters::trainable(tiny_weights(), selects);
    let model = BertModel::load(&parameters, &config).unwrap();
    let gradients = golden_loss(&model.forward(&batch).unwrap(), &batch).backward().unwrap();
    let entries = trainable.entries();
    assert_eq!(entries.len(), 16);
    for (name, parameter) in &entries {
        assert!(name.starts_with("encoder.layer.1."), "{name}");
        let gradient = gradients.get(parameter.var.as_tensor()).unwrap();
        // The softmax does not see what is added to all keys alike: the key bias has no gradient but rounding.
        let moves = values(gradient).iter().any(|x| x.abs() > 1e-5);
        assert!(moves || name.ends_with("self.key.bias"), "{name} does not learn");
        let moved = (parameter.var.as_tensor() - (gradient * 0.1).unwrap()).unwrap();
        parameter.var.set(&moved).unwrap();
    }
    let before = BertModel::load(&Parameters::frozen(tiny_weights()), &config).unwrap();
    let loss =
        |model: &BertModel| golden_loss(&model.forward(&batch).unwrap(), &batch).to_scalar::<f32>().unwrap();
    assert!(loss(&model) < loss(&before) - 0.1, "a step against the gradient lowers the loss");

    // What training exported loads as a checkpoint, and computes the same.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let mut tensors: BTreeMap<String, Tensor> =
        fixture("bert.safetensors").into_iter().filter(|(name, _)| !name.contains("golden")).collect();
    tensors.extend(trainable.export().unwrap());
    save_tensors(&path, &tensors, ElementType::F32).unwrap();
    let exported = BertModel::load(&Parameters::frozen(Weights::open(&path).unwrap()), &config).unwrap();
    assert!((loss(&exported) - loss(&model)).abs() < 1e-4);
}

#[test]
fn dropout_depends_on_the_generator_alone() {
    let batch = golden_batch();
    let (parameters, trainable) = Parameters::trainable(tiny_weights(), |_| true);
    let model = BertModel::load(&parameters, &tiny_config()).unwrap();
    let run = |seed: u64| {
        let mut generator = DropoutGenerator::seed_from_u64(seed);
        let hidden = model.forward_training(&batch, &mut generator).unwrap();
        let gradients = golden_loss(&hidden, &batch).backward().unwrap();
        let of = |name: &str| {
            let entries = trainable.entries();
            let (_, parameter) = entries.iter().find(|(entry, _)| entry == name).unwrap();
            values(gradients.get(parameter.var.as_tensor()).unwrap())
        };
        (values(&hidden), of("encoder.layer.0.attention.self.query.weight"))
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
    assert_ne!(run(1).0, values(&model.forward(&batch).unwrap()));
}

#[test]
fn a_batch_equals_its_texts_one_by_one() {
    let batch = golden_batch();
    let model = BertModel::load(&Parameters::frozen(tiny_weights()), &tiny_config()).unwrap();
    let together = model.forward(&batch).unwrap();
    for i in 0..batch.len() {
        let ids = batch.sequence(i).unwrap().to_vec();
        let alone = TokenBatch { offsets: vec![0, ids.len()], truncated: vec![false], ids };
        let (start, length) = (batch.offsets[i], alone.ids.len());
        let rows = together.narrow(0, start, length).unwrap();
        assert_close("text", &rows, &model.forward(&alone).unwrap(), 1e-5, 1e-5);
    }
    let none = TokenBatch { ids: vec![], offsets: vec![0], truncated: vec![] };
    assert_eq!(model.forward(&none).unwrap().dims(), [0, 32]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let path = Path::new("some/config.json");
    let json = std::fs::read_to_string(fixture_path("bert_config.json")).unwrap();
    for (from, to, expected) in [
        ("\"gelu\"", "\"wave\"", "some/config.json: `hidden_act` is `wave`, expected gelu"),
        (
            "\"num_attention_heads\": 4",
            "\"num_attention_heads\": 5",
            "expected a divisor of `hidden_size` 32",
        ),
        ("\"vocab_size\": 120", "\"vocab_size\": 0", "`vocab_size` is 0"),
        ("\"vocab_size\": 120", "\"vocab_size\": 99999999999999", "`vocab_size` is 99999999999999"),
        ("\"vocab_size\": 120", "\"vocab\": 120", "missing field `vocab_size`"),
        ("\"hidden_dropout_prob\": 0.1", "\"hidden_dropout_prob\": 1.0", "`hidden_dropout_prob` is 1"),
        ("{", "[", "some/config.json: "),
    ] {
        assert!(json.contains(from), "{from}");
        let error = BertConfig::from_json(&json.replace(from, to), path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let relative = json.replace('{', "{\"position_embedding_type\": \"relative_key\",");
    assert!(BertConfig::from_json(&relative, path).unwrap_err().to_string().contains("expected `absolute`"));

    let config = BertConfig { hidden_size: 16, ..tiny_config() };
    let error = BertModel::load(&Parameters::frozen(tiny_weights()), &config).unwrap_err().to_string();
    assert!(error.contains("has shape [120, 32], expected [120, 16]"), "{error}");

    let model = BertModel::load(&Parameters::frozen(tiny_weights()), &tiny_config()).unwrap();
    let batch = |ids: Vec<u32>| TokenBatch { offsets: vec![0, ids.len()], truncated: vec![false], ids };
    let error = model.forward(&batch(vec![3; 41])).unwrap_err().to_string();
    assert_eq!(error, "BertModel: expected at most 40 tokens per text, found 41 tokens");
    assert!(model.forward(&batch(vec![120])).unwrap_err().to_string().contains("ids below 120"));
}

/// The real MiniLM, if it lies beside the repository or where RELENS_SHARED says.
fn minilm() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("RELENS_SHARED").map_or_else(beside, PathBuf::from);
    let path = shared.join("weights/all-MiniLM-L6-v2");
    if path.join("model.safetensors").is_file() {
        return Some(path);
    }
    eprintln!("skipped: {} has no MiniLM (set RELENS_SHARED)", path.display());
    None
}

#[test]
fn minilm_embeddings_equal_transformers() {
    let Some(path) = minilm() else { return };
    let json = std::fs::read_to_string(fixture_path("minilm_sentences.json")).unwrap();
    let sentences: Vec<String> = serde_json::from_str(&json).unwrap();
    let texts: Vec<&str> = sentences.iter().map(String::as_str).collect();
    let batch = Tokenizer::open(&path, 128).unwrap().encode_batch(&texts).unwrap();
    let weights = Weights::open(path.join("model.safetensors")).unwrap();
    let config = BertConfig::open(path.join("config.json")).unwrap();
    let model = BertModel::load(&Parameters::frozen(weights), &config).unwrap();
    let pooled = ops::mean_pool(&model.forward(&batch).unwrap(), &batch.offsets).unwrap();
    assert_close("MiniLM", &pooled, &fixture("minilm.safetensors")["pooled"], 2e-5, 1e-4);
}

#[test]
fn minilm_token_ids_equal_transformers() {
    let Some(path) = minilm() else { return };
    let golden: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(fixture_path("tokenizer_ids.json")).unwrap()).unwrap();
    let texts: Vec<&str> =
        golden["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let context = golden["context_length"].as_u64().unwrap() as usize;
    let batch = Tokenizer::open(&path, context).unwrap().encode_batch(&texts).unwrap();
    for (i, text) in texts.iter().enumerate() {
        let expected: Vec<u32> = serde_json::from_value(golden["minilm"][i].clone()).unwrap();
        assert_eq!(batch.sequence(i).unwrap(), expected, "{text:?}");
    }
}
