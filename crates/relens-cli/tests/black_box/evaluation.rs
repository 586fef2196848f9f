//! `relens eval`: the documented object, from the documented options.

use serde_json::{Value, json};

use crate::workplace::{Workplace, errors};

/// Six pictures in Karpathy's layout, four of them in `val`, two captions each.
fn dataset() -> Workplace {
    let workplace = Workplace::new();
    workplace.pictures("images", 6);
    let sentence = |text: String| json!({"raw": text, "tokens": text.split(' ').collect::<Vec<_>>()});
    let images: Vec<Value> = (0..6)
        .map(|number| {
            let color = ["red", "blue", "green"][number % 3];
            let split = if number < 4 { "val" } else { "train" };
            json!({
                "filename": format!("picture-{number:03}.png"), "imgid": number, "split": split,
                "sentences": [sentence(format!("a {color} square")), sentence(format!("picture of dog {number}"))],
            })
        })
        .collect();
    let annotations = json!({"dataset": "squares", "images": images});
    fs_err::write(workplace.path("captions.json"), annotations.to_string()).unwrap();
    workplace
}

const EVAL: [&str; 7] = ["eval", "--annotations", "captions.json", "--images", "images", "--split", "val"];

#[test]
fn one_object_with_the_documented_keys() {
    let workplace = dataset();
    let options =
        ["--model", "relens-mini", "--enhancer", "identity", "--recall-k", "1,2,4", "--json", "out.json"];
    assert_eq!(workplace.output(&[EVAL.as_slice(), options.as_slice()].concat()), "");
    let report: Value = serde_json::from_slice(&fs_err::read(workplace.path("out.json")).unwrap()).unwrap();
    let fraction = |key: &str| {
        let value = report[key].as_f64().unwrap_or_else(|| panic!("{key} is missing in {report}"));
        assert!((0.0..=1.0).contains(&value), "{key} = {value}");
        value
    };
    for direction in ["image", "text"] {
        let recall = |k: usize| fraction(&format!("{direction}_retrieval_recall@{k}"));
        assert!(recall(1) <= recall(2) && recall(2) <= recall(4));
    }
    assert_eq!(
        fraction("image_retrieval_recall@4"),
        1.0,
        "four pictures: the right one is among the first four"
    );
    assert_eq!((&report["n_images"], &report["n_texts"]), (&json!(4), &json!(8)));
    assert_eq!((&report["model"], &report["enhancer"]), (&json!("relens-mini"), &json!("identity")));
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
    assert!(report.get("image_retrieval_recall@5").is_none(), "only the cut-offs asked for");
}

#[test]
fn the_default_cut_offs_are_one_five_ten() {
    let report = dataset().json(&[EVAL.as_slice(), &["--json", "-"]].concat());
    for k in [1, 5, 10] {
        assert!(report[format!("text_retrieval_recall@{k}")].is_number(), "{report}");
    }
}

#[test]
fn without_json_people_get_a_table() {
    let table = dataset().output(&EVAL);
    assert!(
        table.contains("R@10") && table.contains("text → image") && table.contains("4 pictures"),
        "{table}"
    );
}

#[test]
fn what_is_wrong_with_the_data_is_named() {
    let workplace = dataset();
    let fails = |arguments: &[&str], expected: &str| {
        let assert = workplace.relens(arguments).assert().code(1);
        assert!(errors(&assert).contains(expected), "{}", errors(&assert));
    };
    fails(&["eval", "--annotations", "captions.json", "--images", "images", "--split", "test"], "train");
    fails(&["eval", "--annotations", "nowhere.json", "--images", "images"], "nowhere.json");
    fails(&["eval", "--annotations", "captions.json", "--images", "nowhere"], "picture-000.png");
    fs_err::write(workplace.path("images/picture-001.png"), "no picture").unwrap();
    fails(&EVAL, "picture-001.png");
    fails(&[EVAL.as_slice(), &["--json", "nowhere/out.json"]].concat(), "nowhere/out.json");
}

#[test]
fn a_result_that_cannot_be_written_is_an_error_and_keeps_what_was_there() {
    let workplace = dataset();
    let assert =
        workplace.relens(&[EVAL.as_slice(), &["--json", "nowhere/out.json"]].concat()).assert().code(1);
    assert!(errors(&assert).contains("nowhere/out.json"), "{}", errors(&assert));
}

/// Queries for two of the four pictures of `val` and for one outside of it.
fn asked(workplace: &Workplace) {
    let lines = [
        r#"{"image": "picture-000.png", "query": "a crimson quadrilateral", "kind": "rare"}"#,
        r#"{"image": "picture-001.png", "query": "can you find me the blue one", "kind": "chatty"}"#,
        r#"{"imgid": 1, "query": "an azure quadrilateral", "kind": "rare"}"#,
        r#"{"image": "picture-005.png", "query": "not in the split", "kind": "rare"}"#,
    ];
    fs_err::write(workplace.path("asked.jsonl"), lines.join("\n")).unwrap();
}

#[test]
fn queries_that_people_ask_are_measured_by_kind_against_all_pictures() {
    let workplace = dataset();
    asked(&workplace);
    let options = ["--queries", "asked.jsonl", "--recall-k", "4", "--per-query", "--json", "-"];
    let assert = workplace.relens(&[EVAL.as_slice(), &options].concat()).assert().success();
    assert!(
        errors(&assert).contains("1 line about pictures outside the split was left out"),
        "{}",
        errors(&assert)
    );
    let found: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!((&found["model"], &found["n_images"]), (&json!("relens-mini"), &json!(4)));
    for (kind, count) in [("rare", 2), ("chatty", 1)] {
        let report = &found["kinds"][kind];
        assert_eq!((&report["n_texts"], &report["n_images"]), (&json!(count), &json!(4)), "{report}");
        assert_eq!(report["image_retrieval_recall@4"], 1.0, "four pictures compete");
        assert!(report.get("text_retrieval_mean_rank").is_none(), "not every picture was asked for");
        assert_eq!(report["pictures"], json!([]));
        assert_eq!(report["queries"].as_array().unwrap().len(), count);
    }
    let table = workplace.output(&[EVAL.as_slice(), &["--queries", "asked.jsonl"]].concat());
    assert!(table.contains("3 queries") && table.contains("rare, text → image"), "{table}");
}

#[test]
fn files_with_a_query_in_each_of_several_fields_are_measured_as_they_are() {
    let workplace = dataset();
    let line = |number: usize| {
        json!({"imgid": number, "sentid": number, "caption": "a square", "rare": format!("quadrilateral {number}"), "keywords": "square"})
            .to_string()
    };
    fs_err::write(workplace.path("asked.jsonl"), (0..4).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    let with = |fields| ["--queries", "asked.jsonl", "--query-field", fields, "--json", "-"];
    let found = workplace.json(&[EVAL.as_slice(), &with("rare,keywords")].concat());
    let kinds: Vec<&String> = found["kinds"].as_object().unwrap().keys().collect();
    assert_eq!(kinds, ["keywords", "rare"]);
    assert!(found["kinds"]["rare"]["text_retrieval_recall@1"].is_number(), "every picture was asked for");
    let fails = |arguments: &[&str], code: i32, expected: &str| {
        let assert = workplace.relens(&[EVAL.as_slice(), arguments].concat()).assert().code(code);
        assert!(errors(&assert).contains(expected), "{}", errors(&assert));
    };
    fails(&with("rare,vague"), 1, "`vague`");
    fails(&["--queries", "asked.jsonl"], 1, "`keywords`");
    fails(&["--query-field", "rare"], 2, "--queries");
    fails(&["--queries", "nowhere.jsonl"], 1, "nowhere.jsonl");
}

#[test]
fn a_report_shows_each_kind() {
    let workplace = dataset();
    asked(&workplace);
    let options =
        ["--queries", "asked.jsonl", "--enhancer", "identity", "--per-query", "--json", "asked.json"];
    workplace.output(&[EVAL.as_slice(), &options].concat());
    workplace.output(&["report", "asked.json", "--out", "page.html"]);
    let page = fs_err::read_to_string(workplace.path("page.html")).unwrap();
    assert!(page.contains("asked, rare") && page.contains("asked, chatty"));
}

const COMPARE: [&str; 5] = ["compare", "--annotations", "captions.json", "--images", "images"];

#[test]
fn enhancers_are_compared_by_kind_of_query() {
    let workplace = dataset();
    asked(&workplace);
    let config = "split = \"val\"\n[[row]]\nenhancer = \"identity\"\nlabel = \"of captions\"\n\
                  [[row]]\nenhancer = \"arithmetic\"\nqueries = \"asked.jsonl\"\n";
    fs_err::write(workplace.path("compare.toml"), config).unwrap();
    let options = ["--config", "compare.toml", "--json", "out.json"];
    let table = workplace.output(&[COMPARE.as_slice(), &options].concat());
    assert!(
        table.starts_with("| queries | enhancer |") && table.contains("| rare | arithmetic |"),
        "{table}"
    );
    let rows: Value = serde_json::from_slice(&fs_err::read(workplace.path("out.json")).unwrap()).unwrap();
    let shown: Vec<(&str, Option<&str>, usize)> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let directions = row["image_to_text"].as_array().unwrap().len();
            (row["label"].as_str().unwrap(), row["kind"].as_str(), directions)
        })
        .collect();
    let expected = [
        ("identity", None, 3),
        ("of captions", None, 3),
        ("identity", Some("chatty"), 0),
        ("arithmetic", Some("chatty"), 0),
        ("identity", Some("rare"), 0),
        ("arithmetic", Some("rare"), 0),
    ];
    assert_eq!(shown, expected);
    let interval = &rows[5]["text_to_image"][0]["difference"];
    assert!(interval["lower"].is_number() && interval["upper"].is_number());
    workplace.output(&["report", "out.json", "--out", "page.html"]);
}

#[test]
fn captions_are_perturbed_by_a_seed_and_measured() {
    let workplace = dataset();
    let measured = |more: &[&str]| {
        let options =
            ["--enhancer", "identity", "--perturb", "character-delete:5", "--per-query", "--json", "-"];
        workplace.json(&[EVAL.as_slice(), &options, more].concat())
    };
    let found = measured(&["--perturb-seed", "7"]);
    assert_eq!((&found["perturbation"], &found["changed"]), (&json!("character-delete:5"), &json!(8)));
    let texts = |found: &Value| {
        let queries = found["queries"].as_array().unwrap().iter();
        queries.map(|query| query["query"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts(&found), texts(&measured(&["--perturb-seed", "7"])));
    assert_ne!(texts(&found), texts(&measured(&[])));
    assert!(!texts(&found).contains(&"a red square".to_owned()));
    assert!(found["text_retrieval_recall@1"].is_number());
    for (wrong, told) in [("typos", "keyboard"), ("keyboard:6", "1 to 5")] {
        let assert = workplace.relens(&[EVAL.as_slice(), &["--perturb", wrong]].concat()).assert().code(2);
        assert!(errors(&assert).contains(told), "{}", errors(&assert));
    }
    workplace.relens(&[EVAL.as_slice(), &["--perturb", "ocr", "--queries", "a"]].concat()).assert().code(2);
}

#[test]
fn synonyms_come_from_a_file() {
    let workplace = dataset();
    let line = json!({"word": "square", "alternatives": ["quadrilateral"]}).to_string();
    fs_err::write(workplace.path("synonyms.jsonl"), line).unwrap();
    let options =
        ["--perturb", "synonym-replacement", "--synonyms", "synonyms.jsonl", "--per-query", "--json", "-"];
    let found = workplace.json(&[EVAL.as_slice(), &["--enhancer", "identity"], &options].concat());
    assert_eq!(found["changed"], 4);
    assert_eq!(found["queries"][0]["query"], "a red quadrilateral");
    let fails = |path: &str, expected: &str| {
        let options = ["--perturb", "synonym-replacement", "--synonyms", path];
        let assert = workplace.relens(&[EVAL.as_slice(), &options].concat()).assert().code(1);
        assert!(errors(&assert).contains(expected), "{}", errors(&assert));
    };
    fails("images", "WordNet");
    fails("captions.json", "line 1");
}

#[test]
fn all_perturbations_make_a_table_of_what_they_cost_and_what_comes_back() {
    let workplace = dataset();
    let line = json!({"imgid": 0, "caption": "a red square", "query": "one red quadrangle"}).to_string();
    fs_err::write(workplace.path("translated.jsonl"), line).unwrap();
    let options = [
        "--perturb",
        "all:4",
        "--split",
        "val",
        "--enhancer",
        "arithmetic",
        "--back-translated",
        "translated.jsonl",
        "--json",
        "out.json",
    ];
    let table = workplace.output(&[COMPARE.as_slice(), &options].concat());
    assert!(
        table.contains("| perturbation | changed | R@1 |") && table.contains("| keyboard:4 | 100 % |"),
        "{table}"
    );
    let found: Value = serde_json::from_slice(&fs_err::read(workplace.path("out.json")).unwrap()).unwrap();
    let rows = found["perturbations"].as_array().unwrap();
    assert_eq!(rows.len(), 16);
    assert_eq!((&rows[15]["perturbation"], &rows[15]["changed"]), (&json!("back-translation"), &json!(1)));
    assert_eq!((&found["n_texts"], &rows[15]["n_texts"]), (&json!(8), &json!(1)));
    for row in rows {
        let cell = &row["text_to_image"][0];
        let number = |name: &str| cell[name].as_f64().unwrap();
        let difference = |name: &str| cell[name]["difference"].as_f64().unwrap();
        assert!((number("as_typed") - number("unperturbed") - difference("cost")).abs() < 1e-9, "{row}");
        assert!((number("enhanced") - number("as_typed") - difference("comes_back")).abs() < 1e-9, "{row}");
    }
    let one = ["--perturb", "ocr,passive", "--json", "two.json"];
    workplace.output(&[COMPARE.as_slice(), &one].concat());
    let found: Value = serde_json::from_slice(&fs_err::read(workplace.path("two.json")).unwrap()).unwrap();
    assert_eq!((found["perturbations"].as_array().unwrap().len(), &found["n_texts"]), (2, &json!(12)));
    let refused = |arguments: &[&str]| {
        workplace.relens(&[COMPARE.as_slice(), arguments].concat()).assert().code(2);
    };
    refused(&[]);
    refused(&["--perturb", "all", "--config", "compare.toml"]);
    refused(&["--perturb", "everything"]);
    refused(&["--enhancer", "identity", "--config", "compare.toml"]);
    refused(&["--back-translated", "translated.jsonl", "--config", "compare.toml"]);
}

#[test]
fn broken_pictures_are_left_out_where_that_is_asked_for_and_counted() {
    let workplace = dataset();
    fs_err::write(workplace.path("images/picture-001.png"), "no picture").unwrap();
    fs_err::remove_file(workplace.path("images/picture-002.png")).unwrap();
    let assert = workplace.relens(&EVAL).assert().code(1);
    assert!(errors(&assert).contains("--skip-broken"), "{assert}");
    let report = workplace.json(&[EVAL.as_slice(), &["--skip-broken", "--json", "-"]].concat());
    assert_eq!((&report["skipped"], &report["n_images"]), (&json!(2), &json!(2)));
    assert_eq!((&report["n_texts"], &report["split"]), (&json!(4), &json!("val")));
}

#[test]
fn one_picture_is_missing_and_several_are() {
    let workplace = dataset();
    fs_err::remove_file(workplace.path("images/picture-000.png")).unwrap();
    let message = errors(&workplace.relens(&EVAL).assert().failure());
    assert!(message.contains("1 of 4 pictures is missing under images"), "{message}");
    fs_err::remove_file(workplace.path("images/picture-001.png")).unwrap();
    let message = errors(&workplace.relens(&EVAL).assert().failure());
    assert!(message.contains("2 of 4 pictures are missing under images"), "{message}");
}
