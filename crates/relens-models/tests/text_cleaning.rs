//! What is done to texts before they are cut, against open_clip (tools/reference/make_mojibake_fixtures.py).
#![allow(clippy::unwrap_used)]

mod support;

use relens_models::tokenizer::TextCleaning;
use support::fixture_path;

#[test]
fn damaged_texts_are_repaired_as_open_clip_repairs_them() {
    let pairs = std::fs::read_to_string(fixture_path("repaired_texts.json")).unwrap();
    let pairs: Vec<(String, String)> = serde_json::from_str(&pairs).unwrap();
    assert!(pairs.iter().filter(|(text, repaired)| text != repaired).count() > pairs.len() / 2);
    let different: Vec<String> = pairs
        .iter()
        .map(|(text, expected)| (text, TextCleaning::Whitespace.apply(text).into_owned(), expected))
        .filter(|(_, found, expected)| found != *expected)
        .map(|(text, found, expected)| format!("{text:?}\n  became   {found:?}\n  expected {expected:?}"))
        .collect();
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), pairs.len(), different.join("\n"));
}

#[test]
fn plain_english_stays_as_it_is() {
    let text = "A dog (brown) runs; it's 3.5 km to the \"beach\" @home #1 <b>";
    assert_eq!(TextCleaning::Whitespace.apply(text), text);
}
