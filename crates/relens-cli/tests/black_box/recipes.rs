//! `relens run`: stages that run, are skipped, are stopped and go on.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::model_directory;
use crate::workplace::{Workplace, errors};

const RECIPE: &str = r#"
name = "tiny"
directory = "made"

[variables]
enhancer = "descriptions"

[[stage]]
name = "retriever"
about = "train for a moment"
command = ["train", "retriever", "--config", "train.toml", "--output", "{directory}/retriever"]
resume = ["--resume"]
inputs = ["captions.json", "images", "start"]
outputs = ["retriever"]

[[stage]]
name = "plain"
command = ["eval", "--annotations", "captions.json", "--images", "images", "--split", "val",
           "--model", "{directory}/retriever/model", "--per-query", "--json", "{directory}/plain.json"]
inputs = ["captions.json", "images", "{directory}/retriever"]
outputs = ["plain.json"]

[[stage]]
name = "enhanced"
command = ["eval", "--annotations", "captions.json", "--images", "images", "--split", "val", "--enhancer", "{enhancer}",
           "--model", "{directory}/retriever/model", "--per-query", "--json", "{directory}/enhanced.json"]
inputs = ["captions.json", "images", "{directory}/retriever"]
outputs = ["enhanced.json"]

[[stage]]
name = "report"
command = ["report", "{directory}/plain.json", "{directory}/enhanced.json", "{directory}/retriever",
           "--compare", "--out", "{directory}/report.html"]
inputs = ["{directory}/plain.json", "{directory}/enhanced.json", "{directory}/retriever"]
outputs = ["report.html"]
"#;

/// Twelve captioned pictures, a model to start from, settings of `epochs` passes, and the recipe.
fn prepared(epochs: usize) -> Workplace {
    let workplace = Workplace::new();
    workplace.pictures("images", 12);
    model_directory::write(&workplace.path("start"), 5);
    let image = |number: usize| {
        let sentences =
            ["a zebra", "two cats"].map(|what| json!({"raw": format!("picture of {what} {number}")}));
        let split = if number < 8 { "train" } else { "val" };
        json!({"filename": format!("picture-{number:03}.png"), "imgid": number, "split": split, "sentences": sentences})
    };
    let images: Vec<Value> = (0..12).map(image).collect();
    fs_err::write(
        workplace.path("captions.json"),
        json!({"dataset": "squares", "images": images}).to_string(),
    )
    .unwrap();
    let config = format!(
        "output = \"unused\"\nseed = 7\n[data]\nannotations = \"captions.json\"\nimages = \"images\"\n\
         [model]\nstart_from = \"start\"\n\
         [[phase]]\nepochs = {epochs}\nbatch_size = 4\nlearning_rate = 1e-3\n"
    );
    fs_err::write(workplace.path("train.toml"), config).unwrap();
    fs_err::write(workplace.path("tiny.toml"), RECIPE).unwrap();
    workplace
}

/// What a run says of each stage.
fn states(workplace: &Workplace, options: &[&str]) -> Vec<String> {
    let report = workplace.json(&[&["run", "tiny.toml", "--json"], options].concat());
    let stages = report["stages"].as_array().unwrap().iter();
    stages.map(|stage| stage["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn finished_stages_are_skipped_and_changes_rerun_what_hangs_on_them() {
    let workplace = prepared(1);
    assert_eq!(states(&workplace, &["--plan"]), ["planned"; 4]);
    assert_eq!(states(&workplace, &["--until", "plain"]), ["ran", "ran"]);
    assert_eq!(states(&workplace, &["--dry-run"]), ["finished", "finished", "would run", "would run"]);
    assert_eq!(states(&workplace, &[]), ["skipped", "skipped", "ran", "ran"]);
    assert_eq!(states(&workplace, &[]), ["skipped"; 4]);
    let page = fs_err::read_to_string(workplace.path("made/report.html")).unwrap();
    assert!(page.contains("plain → enhanced") && page.contains("data:image/jpeg;base64,"));
    assert!(page.contains("<svg") && page.contains("learning_rate"));
    let other = ["--set", "enhancer=concat"];
    assert_eq!(
        states(&workplace, &[other.as_slice(), &["--dry-run"]].concat())[1..],
        ["finished", "would run", "would run"]
    );
    assert_eq!(states(&workplace, &other), ["skipped", "skipped", "ran", "ran"]);
    let config = fs_err::read_to_string(workplace.path("train.toml")).unwrap();
    fs_err::write(workplace.path("train.toml"), config.replace("1e-3", "2e-3")).unwrap();
    assert_eq!(states(&workplace, &other), ["ran"; 4]);
}

#[test]
fn a_recipe_that_cannot_be_meant_is_refused_before_anything_runs() {
    let workplace = prepared(1);
    let misspelt = RECIPE.replace("\"--compare\"", "\"--compere\"");
    fs_err::write(workplace.path("tiny.toml"), misspelt).unwrap();
    for options in [&["run", "tiny.toml"][..], &["run", "tiny.toml", "--plan"]] {
        let assert = workplace.relens(options).assert().failure();
        let errors = errors(&assert);
        assert!(errors.contains("stage `report`") && errors.contains("--compere"), "{errors}");
    }
    assert!(!workplace.path("made").exists());
    let known = RECIPE.replace("{enhancer}", "magic");
    fs_err::write(workplace.path("tiny.toml"), known).unwrap();
    workplace.relens(&["run", "tiny.toml"]).assert().failure();
}

#[test]
fn what_the_recipe_did_not_make_is_not_removed() {
    let workplace = prepared(1);
    fs_err::create_dir_all(workplace.path("made/retriever")).unwrap();
    fs_err::write(workplace.path("made/retriever/mine"), "precious").unwrap();
    let assert = workplace.relens(&["run", "tiny.toml"]).assert().code(1);
    assert!(errors(&assert).contains("made/retriever"), "{}", errors(&assert));
    assert!(workplace.path("made/retriever/mine").exists());
}

#[test]
fn the_recipes_that_come_with_relens_can_be_planned() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workplace = Workplace::new();
    let coco: &[&str] = &["--set", "annotations=data/coco/dataset_coco.json", "--set", "images=data/coco"];
    for (recipe, other) in [
        ("configs/measure.toml", &[][..]),
        ("configs/evdclip.toml", &[]),
        ("configs/mgqre.toml", &[]),
        ("configs/paper/mgqre.toml", &[]),
        ("configs/paper/mgqre.toml", coco),
        ("configs/paper/evdclip.toml", &[]),
        ("configs/paper/evdclip.toml", coco),
        ("configs/tables/strategies.toml", &[]),
        ("configs/tables/language-models.toml", &[]),
        ("configs/tables/description-sources.toml", &[]),
        ("configs/tables/transfer-chinese.toml", &[]),
        ("configs/tables/retrievers.toml", &["--set", "retriever=hf-hub:someone/something"]),
    ] {
        let mut plan = workplace.relens(&[&["run", recipe, "--plan", "--json"], other].concat());
        let assert = plan.current_dir(&repository).assert().success();
        let report: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
        let stages = report["stages"].as_array().unwrap();
        for stage in stages {
            let command = stage["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
            for file in command.filter(|word| word.starts_with("configs/")) {
                assert!(repository.join(file).is_file(), "{recipe}: {file} does not exist");
            }
        }
        assert!(stages.len() >= 2, "{recipe}");
    }
}

/// Starts the recipe and waits until its training has logged something.
#[cfg(unix)]
fn started(workplace: &Workplace) -> Child {
    let arguments = ["run", "tiny.toml", "--json"];
    let child = workplace.process(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (log, start) = (workplace.path("made/retriever/metrics.jsonl"), Instant::now());
    let logged = |path: &Path| fs_err::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
    while !logged(&log) {
        assert!(start.elapsed() < Duration::from_secs(120), "training did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

#[cfg(unix)]
fn signal(child: &Child, signal: &str) {
    let _ = Command::new("kill").args([signal, &child.id().to_string()]).stderr(Stdio::null()).status();
}

/// Interrupts the recipe in its training; whether that was still running on hearing of it.
#[cfg(unix)]
fn stopped_in_training(workplace: &Workplace) -> bool {
    let child = started(workplace);
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "the recipe did not stop: {text}");
    assert!(text.contains("run it again to go on") && !text.contains("panicked"), "{text}");
    states(workplace, &["--until", "retriever", "--dry-run"]) != ["finished"]
}

#[cfg(unix)]
#[test]
fn a_stopped_or_killed_recipe_goes_on_to_the_same_result() {
    let (clean, killed) = (prepared(30), prepared(30));
    assert_eq!(states(&clean, &["--until", "plain"]), ["ran", "ran"]);

    // On a busy machine a signal can come when the training has just ended by itself: then once more.
    let stopped = (0..10).map(|_| prepared(30)).find(stopped_in_training);
    let stopped = stopped.expect("ten trainings ended before they could be stopped");
    assert_eq!(states(&stopped, &["--until", "plain"]), ["ran", "ran"]);

    let mut child = started(&killed);
    signal(&child, "-KILL");
    child.wait().unwrap();
    // The stage outlives its recipe and holds the lock until it is finished.
    let start = Instant::now();
    while !killed.relens(&["run", "tiny.toml", "--until", "plain"]).assert().get_output().status.success() {
        assert!(start.elapsed() < Duration::from_secs(120), "the recipe did not go on");
        std::thread::sleep(Duration::from_millis(50));
    }

    let results = |workplace: &Workplace| {
        let text = fs_err::read(workplace.path("made/plain.json")).unwrap();
        let mut result: Value = serde_json::from_slice(&text).unwrap();
        result.as_object_mut().unwrap().remove("seconds");
        result
    };
    assert_eq!(results(&stopped), results(&clean));
    assert_eq!(results(&killed), results(&clean));
}
