//! `relens models`: what there is, and what is inside.

use crate::model_directory::{self, DIM};
use crate::workplace::{Workplace, errors};

#[test]
fn bundled_models_are_listed() {
    let models = Workplace::new().json(&["models", "list", "--json"]);
    let model = models.as_array().unwrap().iter().find(|model| model["name"] == "relens-mini").unwrap();
    assert_eq!(model["dimensions"], DIM);
    assert!(model["parameters"].as_u64().unwrap() > 3_000_000);
    assert!(model["bytes"].as_u64().unwrap() > 3_000_000);
}

#[test]
fn a_pipe_gets_names_and_paths() {
    let list = Workplace::new().output(&["models", "list"]);
    let line = list.lines().find(|line| line.starts_with("relens-mini\t")).unwrap();
    assert!(line.ends_with("models/relens-mini"), "{line}");
}

#[test]
fn a_directory_is_described_like_a_bundled_model() {
    let workplace = Workplace::new();
    model_directory::write(&workplace.path("mine"), 2);
    let mine = workplace.json(&["models", "info", "mine", "--json"]);
    let bundled = workplace.json(&["models", "info", "relens-mini", "--json"]);
    assert_eq!((mine["name"].as_str(), bundled["name"].as_str()), (Some("mine"), Some("relens-mini")));
    assert_eq!((&mine["image_size"], &mine["context_length"]), (&64.into(), &24.into()));
    assert_eq!(mine["parameters"], bundled["parameters"]);
    assert_ne!(mine["fingerprint"], bundled["fingerprint"], "other weights must have another fingerprint");
    let text = workplace.output(&["models", "info", "mine"]);
    assert!(text.contains("64 × 64 pixels") && text.contains("24 tokens"), "{text}");
}

#[test]
fn an_unknown_model_is_an_error_that_lists_the_bundled_ones() {
    let assert = Workplace::new().relens(&["models", "info", "relens-maxi"]).assert().code(1);
    let errors = errors(&assert);
    assert!(errors.contains("relens-maxi") && errors.contains("bundled models: relens-mini"), "{errors}");
}

#[test]
fn without_a_name_the_bundled_model_is_described_and_timed() {
    let info = Workplace::new().json(&["models", "info", "--json"]);
    assert_eq!(info["name"], "relens-mini");
    for field in ["image_milliseconds", "text_milliseconds"] {
        assert!(info[field].as_f64().unwrap() > 0.0, "{field}: {info}");
    }
    assert!(info["memory_bytes"].is_null() || info["memory_bytes"].as_u64().unwrap() > 1 << 20, "{info}");
}

#[test]
fn names_of_the_hub_are_listed_and_offline_the_path_looked_for_is_told() {
    let workplace = Workplace::new();
    let remote = workplace.output(&["models", "list", "--remote"]);
    assert!(
        remote.contains("ViT-B-32/laion2b_s34b_b79k\thf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K\n"),
        "{remote}"
    );
    let cache = workplace.path("cache");
    for command in
        [vec!["models", "pull", "hf-hub:a/b"], vec!["embed", "--text", "a dog", "--model", "hf-hub:a/b"]]
    {
        let assert = workplace.relens(&command).arg("--offline").env("HF_HOME", &cache).assert().code(1);
        let looked_for = cache.join("hub/models--a--b/refs/main").display().to_string();
        assert!(errors(&assert).contains(&looked_for), "{}", errors(&assert));
    }
}

#[test]
fn a_converted_model_has_the_precision_asked_for_and_finds_the_same() {
    let workplace = Workplace::new();
    model_directory::write(&workplace.path("mine"), 2);
    workplace.output(&["models", "convert", "mine", "half", "--dtype", "f16"]);
    let [mine, half] = ["mine", "half"].map(|name| workplace.json(&["models", "info", name, "--json"]));
    assert!(half["bytes"].as_u64().unwrap() < mine["bytes"].as_u64().unwrap() * 6 / 10, "{half}");
    let [mine, half] = ["mine", "half"].map(|name| {
        let line = workplace.json(&["embed", "--text", "a red dog", "--json", "--model", name]);
        line["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>()
    });
    let cosine: f64 = mine.iter().zip(&half).map(|(a, b)| a * b).sum();
    assert!(cosine > 0.999, "{cosine}");
}
