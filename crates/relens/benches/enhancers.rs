//! What enhancers add to a query beside the encoding of its texts: at most 5 ms each.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::embed::memory::RememberingEmbedder;
use relens::embed::reference_pairs::{REFERENCE_FILE, ReferencePairs};
use relens::embed::retriever::Retriever;
use relens::enhancer::Query;
use relens::enhancer::open::EnhancerContext;
use relens::error::Result;
use relens::index::ExactIndex;
use relens::knowledge::wordnet::DEFAULT_DIRECTORY;
use relens::model_hub::bundled;
use relens::ranking::pipeline_config::{DEFAULT, FITTED};
use relens::ranking::{CombinedQueries, Pipeline};

/// Of caption length, with entities, a misspelling and something to drop.
const QUERY: &str = "a photo of two children in red shirts with a bicycel and a very large zeppelin near the old stone bridge";
/// With a word of several senses, which the retriever's text side tells apart.
const AMBIGUOUS: &str = "a bat hangs upside down in a cave with its wings folded";

fn expect<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Finding, choosing and writing, without any embedding.
fn enhancing(criterion: &mut Criterion) {
    let query = [expect(Query::new(QUERY))];
    let mut group = criterion.benchmark_group("enhancing one query");
    for name in ["identity", "descriptions", "concat", "selection", "composer", "wordnet"] {
        if name == "wordnet" && !Path::new(DEFAULT_DIRECTORY).is_dir() {
            eprintln!("wordnet: skipped, there is no {DEFAULT_DIRECTORY}");
            continue;
        }
        let pipeline = expect(Pipeline::open(name, &EnhancerContext::default()));
        group.bench_function(name, |bencher| bencher.iter(|| pipeline.enhance(black_box(&query), None)));
    }
    group.finish();
}

/// Refining and combining embeddings that are already there.
fn combining(criterion: &mut Criterion) {
    let retriever = Arc::new(expect(Retriever::bundled("relens-mini")));
    let context =
        EnhancerContext { home: None, embedder: Some(retriever.clone()), ..EnhancerContext::default() };
    let pipeline = expect(Pipeline::open("descriptions", &context));
    let enhanced = expect(pipeline.enhance(&[expect(Query::new(QUERY))], None));
    let texts: Vec<&str> = enhanced[0].texts.iter().map(|text| text.text.as_str()).collect();
    let embeddings: Embeddings = expect(TextEmbedder::embed_texts(retriever.as_ref(), &texts));
    criterion.bench_function(&format!("combining {} texts", texts.len()), |bencher| {
        bencher.iter(|| CombinedQueries::combine(black_box(&enhanced), &embeddings, "bench"));
    });
}

/// Choosing the sense of a word embeds the query once more; the texts of its senses are known after the first time.
fn telling_senses_apart(criterion: &mut Criterion) {
    let retriever = Arc::new(expect(Retriever::bundled("relens-mini")));
    let query = [expect(Query::new(AMBIGUOUS))];
    let context =
        EnhancerContext { home: None, embedder: Some(retriever.clone()), ..EnhancerContext::default() };
    let pipeline = expect(Pipeline::open("descriptions", &context));
    criterion.bench_function("enhancing a query with an ambiguous word", |bencher| {
        bencher.iter(|| pipeline.enhance(black_box(&query), None));
    });
    criterion.bench_function("for comparison, encoding that query", |bencher| {
        bencher.iter(|| retriever.embed_texts(black_box(&[AMBIGUOUS])));
    });
}

/// The default enhancer from the query to the ranking of 7,000 pictures, the encoding left out: once as it is, and once
/// with `identity` in its place. The difference is what it adds.
fn default_enhancer(criterion: &mut Criterion) {
    let retriever = Arc::new(expect(Retriever::bundled("relens-mini")));
    let query = [expect(Query::new(QUERY))];
    let context =
        EnhancerContext { home: None, embedder: Some(retriever.clone()), ..EnhancerContext::default() };
    let pairs = expect(ReferencePairs::open(&expect(bundled::model("relens-mini")).join(REFERENCE_FILE)));
    let pictures = expect(pairs.captions().select(&(0..7000).map(|row| row * 2).collect::<Vec<_>>()));
    let index = expect(ExactIndex::from_parts(retriever.fingerprint(), (0..7000).collect(), pictures));
    let mut group = criterion.benchmark_group("search among 7,000 pictures without encoding");
    for name in [DEFAULT, "identity", FITTED] {
        let pipeline = expect(Pipeline::open(name, &context));
        // Every text is embedded once, before it is measured.
        let embedder = RememberingEmbedder::new(retriever.clone());
        expect(pipeline.search_batch(&query, 10, &embedder, &index));
        group.bench_function(name, |bencher| {
            bencher.iter(|| pipeline.search_batch(black_box(&query), 10, &embedder, &index));
        });
    }
    group.finish();
    criterion.bench_function("opening the default enhancer", |bencher| {
        bencher.iter(|| Pipeline::open(black_box(DEFAULT), &context).map(drop));
    });
}

criterion_group!(benches, enhancing, combining, telling_senses_apart, default_enhancer);
criterion_main!(benches);
