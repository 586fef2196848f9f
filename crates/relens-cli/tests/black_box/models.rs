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
