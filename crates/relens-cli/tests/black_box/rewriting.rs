//! `relens rewrite`, and enhancers in `search` and `eval`.

use predicates::prelude::*;

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
fn searches_use_enhancers() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 6);
    workplace.output(&["index", "pictures"]);
    let plain = workplace.output(&["search", "a zebra"]);
    let described = workplace.output(&["search", "a zebra", "--enhancer", "descriptions"]);
    assert_eq!(described.lines().count(), 6);
    assert_ne!(plain, described);
}
