//! The finished directory as an enhancer: rewrites, their memory, the gate.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::enhancer::rewriter::gate::FEATURES;
use relens::enhancer::rewriter::{
    DecodingConfig, DecodingMethod, Gate, Rewriter, RewriterModelConfig, RewriterOptions,
};
use relens::enhancer::{EnhancedQuery, Query, QueryEnhancer, TraceEntry};
use relens::ranking::Pipeline;

use super::world::world;

fn queries() -> Vec<Query> {
    ["a cat", "an old stone building", "giraffes on the grass"].map(|text| Query::new(text).unwrap()).into()
}

fn open(directory: &Path, options: RewriterOptions) -> Rewriter {
    Rewriter::open(directory, options, || unreachable!("the prompt asks for no descriptions")).unwrap()
}

fn copy_of_rewriter(name: &str) -> PathBuf {
    let (from, to) = (world().rewriter(), world().path(name));
    std::fs::create_dir_all(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to
}

fn texts(enhanced: &[EnhancedQuery]) -> Vec<Vec<String>> {
    let of = |query: &EnhancedQuery| query.texts.iter().map(|text| text.text.clone()).collect();
    enhanced.iter().map(of).collect()
}

#[test]
fn a_batch_gives_what_each_query_gives_alone_and_is_remembered() {
    let cache = world().path("rewrites.db");
    let decoding = DecodingConfig {
        method: DecodingMethod::Sample,
        rewrites: 3,
        max_tokens: 8,
        seed: 4,
        ..DecodingConfig::default()
    };
    let options =
        RewriterOptions { decoding: Some(decoding), cache: Some(cache.clone()), ..Default::default() };
    let rewriter = open(&world().rewriter(), options.clone());
    let together = rewriter.enhance_batch(&queries(), None).unwrap();
    for (query, enhanced) in queries().iter().zip(&together) {
        let alone = open(&world().rewriter(), RewriterOptions { cache: None, ..options.clone() });
        let found = alone.enhance_batch(std::slice::from_ref(query), None).unwrap();
        assert_eq!(&found[0], enhanced);
        assert!(enhanced.texts.len() > 1, "the query and what was sampled: {enhanced:?}");
        enhanced.ensure_usable("rewriter").unwrap();
    }
    drop(rewriter);
    assert!(cache.is_file());
    let again = open(&world().rewriter(), options);
    assert_eq!(texts(&again.enhance_batch(&queries(), None).unwrap()), texts(&together));
}

#[test]
fn beams_give_different_rewrites_best_first() {
    let decoding = DecodingConfig {
        method: DecodingMethod::Beam,
        rewrites: 3,
        beams: 4,
        max_tokens: 6,
        ..DecodingConfig::default()
    };
    let options = RewriterOptions { decoding: Some(decoding), ..Default::default() };
    for rewrites in open(&world().rewriter(), options).rewrites(&queries()).unwrap() {
        let different: std::collections::HashSet<&str> =
            rewrites.iter().map(|rewrite| rewrite.text.as_str()).collect();
        assert_eq!(different.len(), rewrites.len());
        assert!(rewrites.len() <= 3);
    }
}

#[test]
fn the_gate_keeps_the_query_where_a_rewrite_would_hurt() {
    let directory = copy_of_rewriter("gated");
    let retriever = Arc::new(Retriever::bundled("relens-mini").unwrap());
    let gate = |bias: f64| Gate {
        features: FEATURES.map(str::to_owned).into(),
        mean: vec![0.0; FEATURES.len()],
        deviation: vec![1.0; FEATURES.len()],
        weights: vec![0.0; FEATURES.len()],
        bias,
        threshold: 0.5,
        sharpness: None,
        retriever: retriever.fingerprint().to_owned(),
        fitted_on: 1,
    };
    let settings = RewriterModelConfig {
        gate: Some("gate.json".into()),
        decoding: DecodingConfig { method: DecodingMethod::Sample, max_tokens: 8, ..Default::default() },
        ..RewriterModelConfig::default()
    };
    std::fs::write(directory.join("relens_rewriter.json"), settings.to_json().unwrap()).unwrap();
    let enhanced = |bias: f64, without_gate: bool| {
        std::fs::write(directory.join("gate.json"), serde_json::to_string(&gate(bias)).unwrap()).unwrap();
        let options =
            RewriterOptions { embedder: Some(retriever.clone()), without_gate, ..RewriterOptions::default() };
        open(&directory, options)
            .enhance_batch(&[Query::new("a cat on a table").unwrap()], None)
            .unwrap()
            .remove(0)
    };
    assert_eq!(enhanced(5.0, false).texts.len(), 2, "an open gate");
    let kept = enhanced(-5.0, false);
    assert_eq!((kept.texts.len(), kept.texts[0].text.as_str()), (1, "a cat on a table"));
    assert!(matches!(&kept.trace[0], TraceEntry::Kept { reason } if reason.contains("predicted to hurt")));
    assert_eq!(enhanced(-5.0, true).texts.len(), 2, "no gate");
}

/// An encoder that writes down how many texts it is given at a time.
#[derive(Default)]
struct Counting(Mutex<Vec<usize>>);

impl TextEmbedder for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn fingerprint(&self) -> &str {
        "counting"
    }

    fn embed_texts(&self, texts: &[&str]) -> relens::error::Result<Embeddings> {
        self.0.lock().unwrap().push(texts.len());
        Embeddings::from_rows(1, vec![1.0; texts.len()])
    }
}

#[test]
fn the_texts_of_a_query_are_encoded_in_one_batch() {
    let decoding = DecodingConfig {
        method: DecodingMethod::Sample,
        rewrites: 3,
        max_tokens: 8,
        seed: 4,
        ..DecodingConfig::default()
    };
    let options = RewriterOptions { decoding: Some(decoding), ..Default::default() };
    let rewriter = open(&world().rewriter(), options);
    let counting = Counting::default();
    let query = Query::new("a cat").unwrap();
    let pipeline = Pipeline::new(Box::new(rewriter));
    let enhanced = pipeline.embed(std::slice::from_ref(&query), &counting, None).unwrap().enhanced;
    assert!(enhanced[0].texts.len() > 1, "{enhanced:?}");
    assert_eq!(counting.0.lock().unwrap().len(), 1);
}
