//! `relens kb`: the knowledge base is listed, edited, exchanged and undone.

use predicates::prelude::*;
use serde_json::Value;

use crate::workplace::{Workplace, errors};

fn lines(workplace: &Workplace, arguments: &[&str]) -> Vec<Value> {
    workplace.output(arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn descriptions(workplace: &Workplace, name: &str) -> Vec<String> {
    let entity = workplace.json(&["kb", "show", name, "--json"]);
    let texts = entity["descriptions"].as_array().unwrap();
    texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_bundled_knowledge_base_is_listed_an_object_a_line() {
    let workplace = Workplace::new();
    let entities = lines(&workplace, &["kb", "list", "--json"]);
    assert!(entities.len() >= 1500, "{}", entities.len());
    for entity in &entities {
        assert!(entity["entity"].is_string() && entity["frequency"].is_u64(), "{entity}");
        assert!(!entity["descriptions"].as_array().unwrap().is_empty(), "{entity}");
    }
    assert!(!workplace.path("home/evd.db").exists(), "looking makes no copy");
    let plain = workplace.output(&["kb", "list", "aircraft"]);
    assert!(plain.starts_with("aircraft carrier\t"), "{plain}");
    assert!(lines(&workplace, &["kb", "list", "--all", "--json"]).len() > entities.len());
}

#[test]
fn new_knowledge_is_used_at_once_and_can_be_undone() {
    let workplace = Workplace::new();
    let rewrite = || workplace.output(&["rewrite", "the shandong ship at sea", "--enhancer", "concat"]);
    assert!(!rewrite().contains("ski-jump"));
    workplace.output(&[
        "kb",
        "add",
        "Shandong Ship",
        "--is",
        "aircraft carrier",
        "--has",
        "ski-jump bow",
        "--alias",
        "山东舰",
    ]);
    assert!(
        rewrite().contains("shandong ship which is an aircraft carrier, ski-jump bow, "),
        "{}",
        rewrite()
    );
    assert!(workplace.output(&["rewrite", "一艘山东舰", "--enhancer", "concat"]).contains("ski-jump bow"));
    let known = descriptions(&workplace, "山东舰");
    assert_eq!(known[..2], ["an aircraft carrier", "ski-jump bow"]);
    assert!(known.len() > 2, "it shares what an aircraft carrier looks like: {known:?}");

    workplace.output(&["kb", "undo"]);
    assert!(!rewrite().contains("ski-jump"));
    let history = workplace.output(&["kb", "history", "shandong ship"]);
    assert!(history.contains("undo (of 2)") && history.contains("add (undone by 3)"), "{history}");
    workplace.output(&["kb", "undo", "3"]);
    assert!(rewrite().contains("ski-jump"));
}

#[test]
fn what_an_entity_looks_like_can_be_changed() {
    let workplace = Workplace::new();
    workplace.output(&[
        "kb",
        "edit",
        "wedding",
        "--has",
        "bride in red silk robe",
        "--has",
        "gold phoenix crown",
    ]);
    assert_eq!(descriptions(&workplace, "wedding"), ["bride in red silk robe", "gold phoenix crown"]);
    workplace.output(&["kb", "edit", "wedding", "--drop", "gold phoenix crown", "--alias", "nuptials"]);
    assert_eq!(descriptions(&workplace, "nuptials"), ["bride in red silk robe"]);
    workplace.output(&["kb", "remove", "wedding"]);
    let left = workplace.output(&["kb", "show", "wedding"]);
    assert!(
        left.contains("a word") && !left.contains("red silk"),
        "the word stays, the entity is gone: {left}"
    );
    workplace
        .relens(&["kb", "show", "weddin"])
        .assert()
        .code(1)
        .stderr(predicate::str::contains("did you mean"));
    let history = lines(&workplace, &["kb", "history", "wedding", "--json"]);
    assert_eq!(history.len(), 4, "three edits and the copy that they began with");
    assert_eq!(history[1]["changes"][0]["after"]["aliases"][0], "nuptials");
}

#[test]
fn what_is_exported_is_imported_byte_for_byte() {
    let (first, second) = (Workplace::new(), Workplace::new());
    first.output(&["kb", "add", "blarg", "--has", "three \"quoted\" horns"]);
    first.output(&["kb", "export", "kb.jsonl"]);
    let exported = fs_err::read_to_string(first.path("kb.jsonl")).unwrap();
    assert_eq!(first.output(&["kb", "export"]), exported);
    fs_err::write(second.path("kb.jsonl"), &exported).unwrap();
    second.output(&["kb", "import", "--replace", "kb.jsonl"]);
    assert_eq!(second.output(&["kb", "export"]), exported);
}

#[test]
fn descriptor_files_are_imported_and_bad_ones_name_their_fault() {
    let workplace = Workplace::new();
    fs_err::write(workplace.path("classes.json"), r#"{"Blarg_beast": ["three horns", "green fur"]}"#)
        .unwrap();
    workplace.output(&["kb", "import", "classes.json"]);
    assert_eq!(descriptions(&workplace, "blarg beast"), ["three horns", "green fur"]);
    let header = "{\"format\":\"relens-evd\",\"version\":1}\n";
    fs_err::write(workplace.path("bad.jsonl"), format!("{header}{{\"entity\":\"x\",\"senses\":[]}}\n"))
        .unwrap();
    let assert = workplace.relens(&["kb", "import", "bad.jsonl"]).assert().code(1);
    let message = errors(&assert);
    assert!(message.contains("bad.jsonl: line 2, entity `x`, field `senses`: expected"), "{message}");
    workplace.relens(&["kb", "add", "thing"]).assert().code(2).stderr(predicate::str::contains("--has"));
    workplace
        .relens(&["kb", "undo", "99"])
        .assert()
        .code(1)
        .stderr(predicate::str::contains("no revision 99"));
}

#[test]
fn lint_finds_what_to_look_at_again() {
    let workplace = Workplace::new();
    workplace.output(&["kb", "add", "blarg", "--has", "two horns", "--has", "three horns"]);
    let findings = workplace.output(&["kb", "lint"]);
    assert!(findings.contains("blarg: `three horns` contradicts `two horns`"), "{findings}");
}

#[test]
fn a_knowledge_base_is_built_from_captions_and_records() {
    let workplace = Workplace::new();
    let write = |name: &str, text: &str| fs_err::write(workplace.path(name), text).unwrap();
    write(
        "captions.jsonl",
        "{\"image\": \"a.jpg\", \"captions\": [\"two blargs\", \"a blarg\"], \"split\": \"train\"}\n",
    );
    write("records.jsonl", "{\"entity\": \"blarg\", \"visual\": true, \"descriptions\": [\"horns\"]}\n");
    write("aliases.json", "{\"blarg\": [\"blargling\"]}");
    workplace.output(&[
        "kb",
        "build",
        "--captions",
        "captions.jsonl",
        "--records",
        "records.jsonl",
        "--aliases",
        "aliases.json",
        "--output",
        "built",
    ]);
    let built = fs_err::read_to_string(workplace.path("built/knowledge.jsonl")).unwrap();
    assert!(
        built.contains(r#""entity":"blarg","visual":true,"frequency":2,"aliases":["blargling"]"#),
        "{built}"
    );
    assert_eq!(fs_err::read_to_string(workplace.path("built/vocabulary.tsv")).unwrap(), "");
}

/// The questions that `kb build` asks about four captions and the entities in them, with replies.
fn replies() -> String {
    let [entities, descriptions] = [
        include_str!("../../../relens/src/knowledge/collection/prompts/entities.txt"),
        include_str!("../../../relens/src/knowledge/collection/prompts/descriptions.txt"),
    ];
    let captions = "1. a blarg on a bench 2. good luck 3. the blarg sleeps 4. two blargs";
    let recorded = [
        (
            entities.replace("{captions}", captions),
            r#"{"entities": ["blarg", "A bench", "blargs", "luck"]}"#.to_owned(),
        ),
        (
            descriptions.replace("{candidates}", r#"["bench","blarg","luck"]"#),
            serde_json::json!({"answers": [
                {"entity": "blarg", "visual": true, "descriptions": ["three horns", "green fur"]},
                {"entity": "bench", "visual": true, "descriptions": ["wooden slats"]},
                {"entity": "luck", "visual": false},
            ]})
            .to_string(),
        ),
    ];
    let line = |(prompt, reply): (String, String)| {
        let line = serde_json::json!(
            {"prompt": prompt, "reply": reply, "prompt_tokens": 300, "completion_tokens": 50}
        );
        format!("{line}\n")
    };
    recorded.map(line).concat()
}

#[test]
fn a_knowledge_base_is_built_from_captions_by_a_language_models_replies() {
    let workplace = Workplace::new();
    let captions = r#"["a blarg on a bench", "two blargs", "the blarg sleeps", "good luck"]"#;
    let line = format!("{{\"image\": \"a.jpg\", \"captions\": {captions}, \"split\": \"train\"}}\n");
    fs_err::write(workplace.path("captions.jsonl"), line).unwrap();
    let build =
        ["kb", "build", "--captions", "captions.jsonl", "--output", "built", "--replies", "replies.jsonl"];

    // Nothing is recorded: the question that has no reply is named, and nothing is written.
    let assert = workplace.relens(&build).assert().code(1);
    assert!(
        errors(&assert).contains("expected a recorded reply to `1. a blarg on a bench"),
        "{}",
        errors(&assert)
    );
    assert!(!workplace.path("built/knowledge.jsonl").exists());

    fs_err::write(workplace.path("replies.jsonl"), replies()).unwrap();
    let mut assert =
        workplace.relens(&[build.as_slice(), &["--prompt-price", "2", "--reply-price", "10"]].concat());
    let assert = assert.assert().success();
    let told = errors(&assert);
    assert!(
        told.contains("2 replies recorded before; 600 tokens of prompts, 100 of replies, costing 0.0022")
            && told.contains("2 visual entities, 3 descriptions"),
        "{told}"
    );
    let built = fs_err::read_to_string(workplace.path("built/knowledge.jsonl")).unwrap();
    assert!(built.contains(r#""entity":"blarg","visual":true,"frequency":3"#), "{built}");
    assert!(
        built.contains(r#"{"entity":"luck","visual":false"#),
        "what is not visual is not judged again: {built}"
    );
}

#[test]
fn what_a_person_says_of_a_word_changes_the_next_query_and_can_be_undone() {
    let workplace = Workplace::new();
    let rewrite = || workplace.output(&["rewrite", "a zorblat on grass", "--enhancer", "composer"]);
    assert_eq!(rewrite(), "1.0000\ta zorblat on grass\n");
    workplace.output(&["kb", "add", "zorblat", "--means", "dog"]);
    assert!(rewrite().contains("\ta dog on grass\n"), "{}", rewrite());
    // A word that is no entity is shown, too.
    let shown = workplace.output(&["kb", "show", "zorblat"]);
    assert!(shown.contains("dog"), "{shown}");
    let shown = workplace.output(&["kb", "show", "snarling", "--json"]);
    assert!(shown.contains("\"word\":\"snarling\"") && shown.contains("teeth"), "{shown}");
    workplace.output(&["kb", "undo"]);
    assert_eq!(rewrite(), "1.0000\ta zorblat on grass\n");
}

#[test]
fn glosses_that_cannot_be_taken_are_refused_and_nothing_is_lost() {
    let workplace = Workplace::new();
    workplace.output(&["kb", "add", "zorblat", "--means", "dog"]);
    let before = workplace.output(&["kb", "export", "--words"]);
    for (word, meaning) in [("zorblat", "zorblat"), ("zorblat", "<b>dog</b>"), ("zorblat", "a\u{7}dog")] {
        let refused = workplace.relens(&["kb", "add", word, "--means", meaning]).assert().code(1);
        let stderr = errors(&refused);
        assert!(stderr.contains("expected"), "{word} → {meaning}: {stderr}");
    }
    let long = format!(
        "{{\"word\": \"ok\", \"short\": \"fine\"}}\n{{\"word\": \"zap\", \"short\": \"{}\"}}\n",
        "x".repeat(1 << 20)
    );
    fs_err::write(workplace.path("long.jsonl"), long).unwrap();
    let refused = workplace.relens(&["kb", "import", "--words", "long.jsonl"]).assert().code(1);
    let stderr = errors(&refused);
    assert!(stderr.contains("long.jsonl") && stderr.contains("line 2") && stderr.len() < 2000, "{stderr}");
    assert_eq!(workplace.output(&["kb", "export", "--words"]), before);
    // Words that mean each other end with one replacement each.
    let circle = "{\"word\": \"zib\", \"short\": \"zab\"}\n{\"word\": \"zab\", \"short\": \"zib\"}\n";
    fs_err::write(workplace.path("circle.jsonl"), circle).unwrap();
    workplace.output(&["kb", "import", "--words", "circle.jsonl"]);
    let rewritten = workplace.output(&["rewrite", "the zib and the zab", "--enhancer", "composer"]);
    assert!(rewritten.contains("\tthe zab and the zib\n"), "{rewritten}");
}
