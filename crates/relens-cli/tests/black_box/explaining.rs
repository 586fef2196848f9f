//! `relens explain` and `relens faithfulness`: pictures, numbers that add up, and refusals.

use serde_json::json;

use crate::workplace::Workplace;

/// Whether two numbers that were printed as decimals are nearly the same.
fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-4
}

#[test]
fn an_explanation_is_drawn_and_its_numbers_add_up() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 1);
    // A grey picture is all zeros to the random model, whose embedding has no direction there: black has one.
    let explain = [
        "explain",
        "a zebra",
        "pictures/picture-000.png",
        "--out",
        "why.png",
        "--steps",
        "64",
        "--baseline",
        "black",
        "--json",
    ];
    let report = workplace.json(&explain);
    assert_eq!(report["method"], "integrated_gradients");
    let before = &report["explanations"][0];
    let score = before["score"].as_f64().unwrap();
    let embedded = |arguments: &[&str]| -> Vec<f64> {
        let vector = workplace.json(&[&["embed", "--json"], arguments].concat())["embedding"].clone();
        vector.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let (text, image) =
        (embedded(&["--text", "a zebra"]), embedded(&["--image", "pictures/picture-000.png"]));
    let cosine: f64 = text.iter().zip(&image).map(|(a, b)| a * b).sum();
    assert!(near(score, cosine), "{score} {cosine}");
    let words = before["texts"][0]["words"].as_array().unwrap();
    assert_eq!((words.len(), &words[1]["word"]), (2, &json!("zebra")));
    let sum: f64 = words.iter().map(|word| word["value"].as_f64().unwrap()).sum();
    let empty = before["texts"][0]["empty_score"].as_f64().unwrap();
    assert!(near(sum, score - empty), "{report}");
    assert!(before["pixels"]["completeness_error"].as_f64().unwrap() < 0.5, "{report}");
    let drawn = image::open(workplace.path("why.png")).unwrap();
    let with_enhancer = [explain.as_slice(), &["--enhancer", "concat"]].concat();
    let report = workplace.json(&with_enhancer);
    assert_eq!(report["explanations"][1]["side"], "after concat");
    assert!(image::open(workplace.path("why.png")).unwrap().width() > drawn.width(), "one column more");
}

#[test]
fn a_mask_deletes_a_part_of_the_picture() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 1);
    let report = workplace.json(&[
        "explain",
        "a dog",
        "pictures/picture-000.png",
        "--out",
        "mask.png",
        "--method",
        "mask",
        "--steps",
        "3",
        "--json",
    ]);
    assert_eq!((&report["baseline"], &report["steps"]), (&json!("blur"), &json!(3)));
    let area = report["explanations"][0]["pixels"]["masked_area"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&area), "{report}");
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 1);
    let picture = "pictures/picture-000.png";
    workplace.relens(&["explain", " ", picture, "--out", "x.png"]).assert().code(2);
    workplace.relens(&["explain", "dog", picture, "--out", "x.png", "--steps", "0"]).assert().code(2);
    workplace.relens(&["explain", "dog", "none.png", "--out", "x.png"]).assert().code(1);
    let assert = workplace
        .relens(&["explain", "dog", picture, "--out", "none/x.png", "--steps", "1"])
        .assert()
        .code(1);
    assert!(crate::workplace::errors(&assert).contains("none/x.png: cannot be written"));
}

#[test]
fn faithfulness_compares_with_chance() {
    let workplace = Workplace::new();
    workplace.pictures("images", 3);
    let lines = "{\"image\":\"picture-000.png\",\"captions\":[\"a dog\"]}\n{\"image\":\"picture-001.png\",\"captions\":[\"a cat\"]}\n";
    fs_err::write(workplace.path("captions.jsonl"), lines).unwrap();
    let report = workplace.json(&[
        "faithfulness",
        "--annotations",
        "captions.jsonl",
        "--images",
        "images",
        "--steps",
        "4",
        "--points",
        "3",
        "--cells",
        "4",
        "--json",
    ]);
    assert_eq!(report["pictures"], 2);
    let difference = &report["difference"];
    let number = |key: &str| difference[key].as_f64().unwrap();
    assert!(number("lower") <= number("mean") && number("mean") <= number("upper"), "{report}");
    let gain = |map: &str| report[map]["gain"].as_f64().unwrap();
    assert!(near(gain("map") - gain("random"), number("mean")), "{report}");
}
