//! The bundled rewriter on queries of twelve words: at most 20 ms when the query is new, 50 µs when it is known.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use relens::enhancer::rewriter::{BUNDLED, Rewriter, RewriterModel, RewriterModelConfig, RewriterOptions};
use relens::enhancer::{Query, QueryEnhancer};
use relens::knowledge::Knowledge;
use relens::model_hub::bundled;

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
    let settings = expect(RewriterModelConfig::open(&directory));
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
    let query = [expect(Query::new(QUERIES[0]))];
    expect(rewriter.enhance_batch(&query, None));
    criterion.bench_function("a known query", |bencher| {
        bencher.iter(|| rewriter.enhance_batch(black_box(&query), None));
    });
}

criterion_group!(benches, queries);
criterion_main!(benches);
