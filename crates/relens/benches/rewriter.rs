//! The bundled rewriter on queries of twelve words: at most 20 ms when the query is new, 50 µs when it is known; and the
//! soft rewriter on an embedding: at most 100 µs.

use std::collections::BTreeMap;
use std::hint::black_box;

use candle_core::{Device, Tensor};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use relens::enhancer::rewriter::{BUNDLED, Rewriter, RewriterModel, RewriterOptions, RewriterSettings};
use relens::enhancer::soft::{SETTINGS_FILE, SoftRewriterWeights, WEIGHTS_FILE};
use relens::enhancer::{Query, QueryEnhancer, RefineEmbeddings};
use relens::knowledge::Knowledge;
use relens::model_hub::bundled;
use relens_models::weights::{ElementType, save_tensors};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUERIES: [&str; 4] = [
    "a brown dog with a red collar runs through the tall grass",
    "two men in orange vests are working on a road at night",
    "a little girl in a pink dress jumps into a swimming pool",
    "a group of people on bicycles wait in front of an old church",
];

fn expect<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn queries(criterion: &mut Criterion) {
    let Ok(directory) = bundled::model(BUNDLED) else {
        eprintln!("skipped: no rewriter is bundled");
        return;
    };
    let settings = expect(RewriterSettings::open(&directory));
    let knowledge = || Knowledge::bundled().map(std::sync::Arc::new);
    let model = expect(RewriterModel::open(&directory, &settings, knowledge, None));
    let mut next = QUERIES.iter().cycle();
    criterion.bench_function("a new query", |bencher| {
        bencher.iter_batched(
            || next.next().copied().unwrap_or_default(),
            |query| model.rewrite(black_box(&[query])),
            BatchSize::SmallInput,
        );
    });
    let options = RewriterOptions { without_gate: true, ..RewriterOptions::default() };
    let rewriter = expect(Rewriter::open(&directory, options, knowledge));
    let query = expect(Query::new(QUERIES[0]));
    expect(rewriter.enhance(&query));
    criterion.bench_function("a known query", |bencher| bencher.iter(|| rewriter.enhance(black_box(&query))));
}

fn embeddings(criterion: &mut Criterion) {
    const DIM: usize = 512;
    const HIDDEN: usize = 128;
    let directory = expect(tempfile::tempdir());
    let tensor = |shape: &[usize]| expect(Tensor::rand(-0.1f32, 0.1, shape, &Device::Cpu));
    let tensors = BTreeMap::from([
        ("up.weight".to_owned(), tensor(&[HIDDEN, DIM])),
        ("up.bias".to_owned(), tensor(&[HIDDEN])),
        ("down.weight".to_owned(), tensor(&[DIM, HIDDEN])),
        ("down.bias".to_owned(), tensor(&[DIM])),
    ]);
    expect(save_tensors(&directory.path().join(WEIGHTS_FILE), &tensors, ElementType::F16));
    let settings = r#"{"retriever": "any", "strength": 1.0}"#;
    expect(std::fs::write(directory.path().join(SETTINGS_FILE), settings));
    let soft = expect(SoftRewriterWeights::open(directory.path(), None));
    let mut row = vec![(DIM as f32).sqrt().recip(); DIM];
    criterion.bench_function("soft rewriting of one embedding", |bencher| {
        bencher.iter(|| soft.refine(black_box(&mut row), DIM));
    });
}

criterion_group!(benches, queries, embeddings);
criterion_main!(benches);
