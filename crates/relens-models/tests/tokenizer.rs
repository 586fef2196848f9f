//! The tokenizer against transformers (tools/reference/make_text_fixtures.py), and what it does at its limits.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use relens_models::tokenizer::Tokenizer;
use support::fixture_path;

fn tokenizer(context_length: usize) -> Tokenizer {
    Tokenizer::open(fixture_path("tokenizer.json"), context_length).unwrap()
}

#[test]
fn odd_texts_have_the_ids_that_transformers_gives() {
    let golden: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(fixture_path("tokenizer_ids.json")).unwrap()).unwrap();
    let texts: Vec<&str> =
        golden["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(texts.len() > 16, "enough for the parallel path");
    let tokenizer = tokenizer(golden["context_length"].as_u64().unwrap() as usize);
    let batch = tokenizer.encode_batch(&texts).unwrap();
    assert_eq!(batch.len(), texts.len());
    for (i, text) in texts.iter().enumerate() {
        let expected: Vec<u32> = serde_json::from_value(golden["small"][i].clone()).unwrap();
        assert_eq!(batch.sequence(i).unwrap(), expected, "{text:?}");
        let alone = tokenizer.encode_batch(&[text]).unwrap();
        assert_eq!(alone.ids, expected, "{text:?} alone");
        assert_eq!(alone.truncated[0], batch.truncated[i]);
    }
}

#[test]
fn empty_texts_keep_their_special_tokens() {
    let batch = tokenizer(64).encode_batch(&["", "dog", ""]).unwrap();
    assert_eq!(batch.offsets, [0, 2, 5, 7]);
    assert_eq!(batch.sequence(0), batch.sequence(2));
    assert_eq!(batch.sequence(3), None);
    assert_eq!(tokenizer(64).encode_batch(&[]).unwrap().offsets, [0]);
}

#[test]
fn a_text_that_does_not_fit_loses_its_end_but_no_special_token() {
    let tokenizer = tokenizer(10);
    let (fits, long) = ("a a a a a a a a", "a a a a a a a a a");
    let batch = tokenizer.encode_batch(&[fits, long]).unwrap();
    assert_eq!(batch.truncated, [false, true]);
    assert_eq!(batch.sequence(0), batch.sequence(1));
    let empty = tokenizer.encode_batch(&[""]).unwrap();
    assert_eq!(batch.sequence(1).unwrap().first(), empty.ids.first());
    assert_eq!(batch.sequence(1).unwrap().last(), empty.ids.last());
}

#[test]
fn a_megabyte_costs_bounded_time() {
    let tokenizer = tokenizer(128);
    let start = Instant::now();
    for text in ["dog ".repeat(1 << 18), "x".repeat(1 << 20), "狗".repeat(1 << 18), " ".repeat(1 << 20)] {
        let batch = tokenizer.encode_batch(&[&text]).unwrap();
        assert!(batch.ids.len() <= 128);
        assert_eq!(batch.truncated, [true]);
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn files_and_contexts_that_do_not_fit_are_refused_by_name() {
    let error = Tokenizer::open(fixture_path("tokenizer.json"), 2).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json") && error.contains("expected 3 to"), "{error}");
    let error = Tokenizer::from_bytes(b"{}", Path::new("dir/tokenizer.json"), 8).unwrap_err().to_string();
    assert!(error.starts_with("dir/tokenizer.json: tokenizer: "), "{error}");
    let whole = std::fs::read(fixture_path("tokenizer.json")).unwrap();
    let error = Tokenizer::from_bytes(&whole[..whole.len() / 2], Path::new("half.json"), 8).unwrap_err();
    assert!(error.to_string().starts_with("half.json: tokenizer: "), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let error = Tokenizer::open(directory.path(), 8).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
}
