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
    fails(&[EVAL.as_slice(), &["--json", "nowhere/out.json"]].concat(), "picture-001.png");
}

#[test]
fn a_result_that_cannot_be_written_is_an_error_and_keeps_what_was_there() {
    let workplace = dataset();
    let assert =
        workplace.relens(&[EVAL.as_slice(), &["--json", "nowhere/out.json"]].concat()).assert().code(1);
    assert!(errors(&assert).contains("nowhere/out.json"), "{}", errors(&assert));
}
