//! `relens train retriever`: from a configuration to a model; killed, stopped and resumed.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::model_directory;
use crate::workplace::{Workplace, errors};

/// Twelve captioned pictures, a model to start from, and a configuration of `epochs` passes.
fn prepared(epochs: usize) -> Workplace {
    let workplace = Workplace::new();
    workplace.pictures("images", 12);
    model_directory::write(&workplace.path("start"), 5);
    let images: Vec<Value> = (0..12)
        .map(|number| {
            let sentences: Vec<Value> = (0..2)
                .map(|caption| json!({"raw": format!("picture of {} {number}", ["a dog", "two cats"][caption])}))
                .collect();
            let split = if number < 8 { "train" } else { "val" };
            json!({"filename": format!("picture-{number:03}.png"), "imgid": number, "split": split,
                   "sentences": sentences})
        })
        .collect();
    let annotations = json!({"dataset": "squares", "images": images});
    fs_err::write(workplace.path("captions.json"), annotations.to_string()).unwrap();
    let config = format!(
        "output = \"run\"\nseed = 7\n\
         [data]\nannotations = \"captions.json\"\nimages = \"images\"\n\
         [model]\nstart_from = \"start\"\n\
         [[phase]]\nepochs = {epochs}\nbatch_size = 4\nlearning_rate = 1e-3\n"
    );
    fs_err::write(workplace.path("train.toml"), config).unwrap();
    workplace
}

const TRAIN: [&str; 4] = ["train", "retriever", "--config", "train.toml"];

#[track_caller]
fn fails(workplace: &Workplace, arguments: &[&str], expected: &[&str]) {
    let assert = workplace.relens(arguments).assert().code(1);
    let errors = errors(&assert);
    for part in expected {
        assert!(errors.contains(part), "`{part}` is not in: {errors}");
    }
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
fn a_trained_model_can_be_used_at_once() {
    let workplace = prepared(2);
    let report = workplace.json(&[TRAIN.as_slice(), &["--json"]].concat());
    assert_eq!(report["steps"], 4, "{report}");
    assert!(report["metrics"]["image_retrieval_recall@1"].is_number(), "{report}");
    let model = report["model"].as_str().unwrap();
    let vectors = workplace.output(&["embed", "--model", model, "--json", "--text", "a dog"]);
    assert_ne!(vectors, workplace.output(&["embed", "--model", "start", "--json", "--text", "a dog"]));
    let eval = ["eval", "--annotations", "captions.json", "--images", "images", "--split", "val"];
    let evaluated = workplace.json(&[eval.as_slice(), &["--model", model, "--json", "-"]].concat());
    for key in ["image_retrieval_recall@1", "text_retrieval_recall@1"] {
        assert_eq!(evaluated[key], report["metrics"][key], "{key}: eval measures what training measured");
    }
}

#[test]
fn a_run_is_not_overwritten_by_mistake() {
    let workplace = prepared(1);
    workplace.output(&TRAIN);
    fails(&workplace, &TRAIN, &["run", "--resume", "--output"]);
    workplace.output(&[TRAIN.as_slice(), &["--output", "another"]].concat());
    assert!(workplace.path("another/metrics.jsonl").is_file());
}

#[test]
fn what_is_wrong_with_the_configuration_is_named() {
    let workplace = prepared(1);
    let config = fs_err::read_to_string(workplace.path("train.toml")).unwrap();
    let with =
        |from: &str, to: &str| fs_err::write(workplace.path("train.toml"), config.replace(from, to)).unwrap();
    with("seed = 7", "sed = 7");
    fails(&workplace, &TRAIN, &["train.toml", "sed"]);
    with("learning_rate = 1e-3", "learning_rate = -1.0");
    fails(&workplace, &TRAIN, &["learning_rate"]);
    with("\"captions.json\"", "\"nowhere.json\"");
    fails(&workplace, &TRAIN, &["nowhere.json"]);
    with("\"start\"", "\"nowhere\"");
    fails(&workplace, &TRAIN, &["nowhere"]);
    fails(&workplace, &["train", "retriever", "--config", "nowhere.toml"], &["nowhere.toml"]);
}

#[cfg(unix)]
#[test]
fn kill_nine_and_resume_gives_the_bytes_of_an_uninterrupted_run() {
    let (killed, clean) = (prepared(60), prepared(60));
    clean.output(&TRAIN);
    let resume = [TRAIN.as_slice(), &["--resume"]].concat();
    let mut kills = 0;
    for _ in 0..6 {
        let mut child = killed.process(&resume).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for_another_checkpoint(&killed.path("run/checkpoints"), &mut child);
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills >= 2, "training was too fast to be killed: use more epochs");
    killed.output(&resume);
    for file in ["run/metrics.jsonl", "run/model/open_clip_model.safetensors"] {
        let read = |workplace: &Workplace| fs_err::read(workplace.path(file)).unwrap();
        assert!(read(&killed) == read(&clean), "{file} differs from that of the uninterrupted run");
    }
}

/// Returns when a checkpoint was added, the process has ended, or ten seconds are over.
#[cfg(unix)]
fn wait_for_another_checkpoint(checkpoints: &Path, child: &mut std::process::Child) {
    let listing = || -> Vec<std::ffi::OsString> {
        let entries = fs_err::read_dir(checkpoints).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let (before, start) = (listing(), Instant::now());
    while listing() == before
        && child.try_wait().unwrap().is_none()
        && start.elapsed() < Duration::from_secs(10)
    {
        std::thread::sleep(Duration::from_millis(3));
    }
}
