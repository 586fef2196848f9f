//! Time to encode texts with a BERT of MiniLM's size and seeded weights: one query, a few, a batch, a training step.
//!
//! `tools/reference/time_text.py` compares the same with PyTorch.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use relens_models::ops;
use relens_models::parameters::Parameters;
use relens_models::tokenizer::TokenBatch;
use relens_models::towers::bert::{BertConfig, BertModel};
use relens_models::weights::{ElementType, Weights, tensors_to_bytes};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The word table is smaller than MiniLM's: only the rows in use are ever read.
const CONFIG: &str = r#"{"vocab_size": 1000, "hidden_size": 384, "num_hidden_layers": 6,
    "num_attention_heads": 12, "intermediate_size": 1536}"#;

/// Numbers in −0.05..0.05; which ones does not matter for the time.
fn seeded(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|i| ((i * 7919 % 2003) as f32 / 2003.0 - 0.5) * 0.1).collect();
    Tensor::from_vec::<_, f32>(values, shape, &Device::Cpu).unwrap()
}

fn weights(config: &BertConfig) -> Weights {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let mut tensors = BTreeMap::new();
    let mut put = |name: String, shape: &[usize]| drop(tensors.insert(name, seeded(shape)));
    for (table, rows) in [
        ("word_embeddings", config.vocab_size),
        ("position_embeddings", config.max_position_embeddings),
        ("token_type_embeddings", config.type_vocab_size),
    ] {
        put(format!("embeddings.{table}.weight"), &[rows, width]);
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in (0..config.num_hidden_layers).map(|i| format!("encoder.layer.{i}")) {
        norms.extend([format!("{layer}.attention.output.LayerNorm"), format!("{layer}.output.LayerNorm")]);
        for (name, outputs, inputs) in [
            ("attention.self.query", width, width),
            ("attention.self.key", width, width),
            ("attention.self.value", width, width),
            ("attention.output.dense", width, width),
            ("intermediate.dense", inner, width),
            ("output.dense", width, inner),
        ] {
            put(format!("{layer}.{name}.weight"), &[outputs, inputs]);
            put(format!("{layer}.{name}.bias"), &[outputs]);
        }
    }
    for norm in norms {
        put(format!("{norm}.weight"), &[width]);
        put(format!("{norm}.bias"), &[width]);
    }
    Weights::from_bytes("seeded", tensors_to_bytes(&tensors, ElementType::F32).unwrap()).unwrap()
}

/// Captions of 9 to 23 tokens, 15 in the mean, as people write them.
fn captions(count: usize) -> TokenBatch {
    let mut batch = TokenBatch { ids: Vec::new(), offsets: vec![0], truncated: vec![false; count] };
    for i in 0..count {
        let length = if count == 1 { 12 } else { 9 + i * 7 % 13 };
        batch.ids.extend((0..length as u32).map(|j| (i as u32 * 31 + j * 17) % 1000));
        batch.offsets.push(batch.ids.len());
    }
    batch
}

fn encode(model: &BertModel, batch: &TokenBatch) -> Tensor {
    ops::mean_pool(&model.forward(batch).unwrap(), &batch.offsets).unwrap()
}

fn bert(criterion: &mut Criterion) {
    let config = BertConfig::from_json(CONFIG, "seeded".as_ref()).unwrap();
    let weights = weights(&config);
    let frozen = BertModel::load(&Parameters::frozen(weights.clone()), &config).unwrap();
    let mut group = criterion.benchmark_group("bert");
    for count in [1, 8, 64] {
        let batch = captions(count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("encode", count), |bencher| {
            bencher.iter(|| encode(&frozen, &batch));
        });
    }
    let selects = BertModel::selects_last_layers(&config, config.num_hidden_layers, false);
    let (parameters, _variables) = Parameters::trainable(weights, selects);
    let trainable = BertModel::load(&parameters, &config).unwrap();
    let batch = captions(64);
    group.sample_size(10);
    group.bench_function(BenchmarkId::new("training_step", 64), |bencher| {
        bencher.iter(|| encode(&trainable, &batch).sqr().unwrap().sum_all().unwrap().backward().unwrap());
    });
    group.finish();
}

criterion_group!(benches, bert);
criterion_main!(benches);
