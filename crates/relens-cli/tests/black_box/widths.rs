//! Results fit 80 columns where no terminal says otherwise.

use std::path::Path;

use crate::workplace::Workplace;

const COLUMNS: usize = 80;

fn ensure_fits(told: &str, what: &[&str]) {
    assert!(!told.trim().is_empty(), "{what:?} tells nothing");
    for line in told.lines() {
        assert!(line.chars().count() <= COLUMNS, "{what:?}: {} columns: {line}", line.chars().count());
    }
}

#[test]
fn results_fit_eighty_columns() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 3);
    let captions = ["picture-000", "picture-001", "picture-002"].map(|name| {
        format!("{{\"image\": \"{name}.png\", \"captions\": [\"a dog of {name} on the beach\"]}}\n")
    });
    fs_err::write(workplace.path("captions.jsonl"), captions.concat()).unwrap();
    let long =
        "a small brown dog that runs along the beach after a red ball which somebody has thrown into the sea";
    let data = ["--annotations", "captions.jsonl", "--images", "pictures", "--split", "all"];
    let explain = ["explain", long, "pictures/picture-000.png", "--out", "why.png", "--baseline", "black"];
    let explain = [&explain[..], &["--steps", "2"]].concat();
    for arguments in [
        vec!["index", "pictures"],
        vec!["library", "list"],
        vec!["library", "info"],
        vec!["library", "check"],
        vec!["library", "repair"],
        vec!["models", "list"],
        vec!["models", "info", "relens-mini"],
        explain.clone(),
        [&explain[..], &["--enhancer", "concat"]].concat(),
        [&explain[..], &["--method", "mask"]].concat(),
        [&["eval"][..], &data].concat(),
        [&["faithfulness"][..], &data, &["--steps", "2", "--limit", "2"]].concat(),
        vec!["config", "show"],
        vec!["kb", "show", "zebra"],
        vec!["kb", "lint"],
    ] {
        ensure_fits(&workplace.output(&arguments), &arguments);
    }
}

#[test]
fn the_plans_of_the_recipes_that_come_with_relens_fit_eighty_columns() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workplace = Workplace::new();
    for recipe in
        ["configs/measure.toml", "configs/evdclip.toml", "configs/mgqre.toml", "configs/paper/mgqre.toml"]
    {
        let mut plan = workplace.relens(&["run", recipe, "--plan"]);
        let assert = plan.current_dir(&repository).assert().success();
        let told = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
        ensure_fits(&told, &["run", recipe, "--plan"]);
        assert!(told.contains(": planned, "), "{told}");
    }
}
