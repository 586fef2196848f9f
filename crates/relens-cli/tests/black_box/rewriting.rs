//! `relens rewrite`, and enhancers in `search` and `eval`.

use predicates::prelude::*;
use serde_json::Value;

use crate::workplace::Workplace;

#[test]
fn json_says_what_is_sent_and_why() {
    let workplace = Workplace::new();
    let rewritten = workplace.json(&["rewrite", "a zebra", "--enhancer", "descriptions", "--json"]);
    assert_eq!(rewritten["query"], "a zebra");
    assert_eq!(rewritten["enhancer"], "descriptions");
    assert_eq!(rewritten["combine"], "mean_score");
    let texts = rewritten["texts"].as_array().unwrap();
    assert_eq!(texts[0]["text"], "a zebra");
    assert!(texts[1]["text"].as_str().unwrap().starts_with("a zebra, zebra which "), "{rewritten}");
    let weights: f64 = texts.iter().map(|text| text["weight"].as_f64().unwrap()).sum();
    assert!((weights - 1.0).abs() < 1e-5);
    assert_eq!(rewritten["trace"][0]["step"], "entity_found");
    assert_eq!(rewritten["trace"][0]["entity"], "zebra");
}

#[test]
fn a_pipe_gets_a_weight_a_tab_and_a_text_a_line() {
    let workplace = Workplace::new();
    assert_eq!(workplace.output(&["rewrite", "two dogs"]), "1.0000\ttwo dogs\n");
    let composed = workplace.output(&["rewrite", "show me a dgo on the gras", "--enhancer", "composer"]);
    assert!(composed.contains("\ta dog on the grass\n"), "{composed}");
}

#[test]
fn a_file_combines_several_enhancers() {
    let workplace = Workplace::new();
    let spec = "[[enhancer]]\nname = \"identity\"\nweight = 3\n[[enhancer]]\nname = \"concat\"\n";
    fs_err::write(workplace.path("both.toml"), spec).unwrap();
    let rewritten = workplace.json(&["rewrite", "a zebra", "--enhancer", "both.toml", "--json"]);
    assert_eq!(
        (&rewritten["enhancer"], &rewritten["combine"]),
        (&"identity+concat".into(), &"mean_embedding".into())
    );
    let rewritten = workplace.json(&[
        "rewrite",
        "a zebra",
        "--enhancer",
        "both.toml",
        "--combine",
        "max_score",
        "--json",
    ]);
    assert_eq!(rewritten["combine"], "max_score");
    fs_err::write(workplace.path("bad.toml"), "[[enhancer]]\nname = \"concat\"\nmagic = 1\n").unwrap();
    let refused = workplace.relens(&["rewrite", "a zebra", "--enhancer", "bad.toml"]).assert().code(1);
    refused.stderr(predicate::str::contains("unknown field `magic`"));
}

#[test]
fn misspelt_words_are_corrected_and_listed_ones_left() {
    let workplace = Workplace::new();
    let rewritten = workplace.output(&["rewrite", "a littel buoy", "--enhancer", "spelling"]);
    assert_eq!(rewritten, "1.0000\ta little buoy\n");
    let told = workplace.json(&["rewrite", "a littel buoy", "--enhancer", "spelling", "--json"]);
    assert_eq!(told["trace"][0]["to"], "little", "{told}");
}

#[test]
fn captions_of_a_dataset_are_rewritten_into_a_file() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 1);
    let line = r#"{"image": "0.png", "captions": ["a littel dog", "a dog"]}"#;
    fs_err::write(workplace.path("captions.jsonl"), line).unwrap();
    let command =
        ["rewrite", "--annotations", "captions.jsonl", "--images", "pictures", "--enhancer", "spelling"];
    let printed = workplace.output(&[&command[..], &["--output", "out.jsonl", "--json"]].concat());
    assert_eq!(printed, "");
    let text = fs_err::read_to_string(workplace.path("out.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["query"], &lines[0]["texts"][0]["text"]),
        (&"a littel dog".into(), &"a little dog".into())
    );
}

#[test]
fn searches_use_enhancers() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 6);
    workplace.output(&["index", "pictures"]);
    let plain = workplace.output(&["search", "a zebra"]);
    let described = workplace.output(&["search", "a zebra", "--enhancer", "descriptions"]);
    assert_eq!(described.lines().count(), 6);
    assert_ne!(plain, described);
}

#[test]
fn queries_in_other_languages_are_read_word_by_word() {
    let workplace = Workplace::new();
    let composed = |query: &str| workplace.output(&["rewrite", query, "--enhancer", "composer"]);
    assert_eq!(composed("zwei Hunde am Strand"), "1.0000\ttwo dogs on the beach\n");
    assert_eq!(composed("zwei wauzi am Strand"), "1.0000\ttwo wauzi on the beach\n");
    workplace.output(&["kb", "add", "wauzi", "--means", "small brown dog", "--language", "de"]);
    assert_eq!(composed("zwei wauzi am Strand"), "1.0000\ttwo small brown dog on the beach\n");
    let listed = workplace.output(&["kb", "list", "--words", "--language", "de", "wauz"]);
    assert_eq!(listed, "de:wauzi\tsmall brown dog\n");
    // Right words of another language are no misspelt ones of English.
    let spelling = workplace.output(&["rewrite", "zwei Hunde und ein Ball", "--enhancer", "spelling"]);
    assert_eq!(spelling, "1.0000\ttwo dogs and a ball\n");
    let japanese = composed("犬が海を走る");
    assert!(japanese.contains("dog"), "{japanese}");
}
