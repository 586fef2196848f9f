//! What goes wrong in a run: it stops or skips, and says at which step and with which sample.

use std::path::Path;

use relens_training::TrainingError;
use relens_training::stages::ppo::PpoMethod;
use relens_training::stages::sft::SftMethod;
use serde_json::{Value, json};

use super::world::{Listener, StopAfter, bytes, finish, world};

const SIBLINGS: &str = "[candidates]\nsibling_captions = 2\n";

/// A copy of the tiny rewriter whose hidden states are all 0, so that all tokens are equally likely.
fn rewriter_without_opinions() -> std::path::PathBuf {
    let (from, to) = (world().rewriter(), world().path("without-opinions"));
    std::fs::create_dir_all(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    let weights = relens_models::weights::Weights::open(to.join("model.safetensors")).unwrap();
    let tensors = weights
        .names()
        .map(|name| {
            let tensor = weights.tensor(name, weights.shape(name).unwrap()).unwrap();
            let silent = name == "decoder.final_layer_norm.weight";
            (name.to_owned(), if silent { tensor.zeros_like().unwrap() } else { tensor })
        })
        .collect();
    let path = to.join("model.safetensors");
    relens_models::weights::save_tensors(&path, &tensors, relens_models::weights::ElementType::F32).unwrap();
    to
}

#[test]
fn a_policy_that_writes_nothing_stops_the_run_with_step_and_sample() {
    let world = world();
    let tables = world
        .starting_tables("")
        .replace(&format!("{:?}", world.rewriter()), &format!("{:?}", rewriter_without_opinions()));
    // The likeliest token alone is the first of the vocabulary, padding: a text without words.
    let stage = world.config::<PpoMethod>("faults/empty", "max_steps = 2\ntop_p = 0.0001", &tables);
    let mut listener = Listener::default();
    let error = stage.run(&mut listener).unwrap_err().to_string();
    assert!(error.contains("step 1") && error.contains("sample 0: an empty rewrite of `"), "{error}");
    let measured = listener.records.iter().find(|record| record.contains_key("split")).unwrap();
    assert!(measured["empty_rewrites"].as_u64().unwrap() > 0, "{measured:?}");
    assert_eq!(
        measured["rewrite_image_retrieval_recall@1"], measured["identity_image_retrieval_recall@1"],
        "an empty rewrite is measured as the query itself"
    );
}

#[test]
fn samples_longer_than_the_context_are_skipped_by_name() {
    let world = world();
    let annotations = std::fs::read_to_string(world.path("annotations.jsonl")).unwrap();
    let long = vec!["giraffe"; 200].join(" ");
    let mut lines: Vec<Value> = annotations.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines[0]["captions"] = json!([long, "a bridge"]);
    let path = world.path("long.jsonl");
    std::fs::write(&path, lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();

    let tables = world.starting_tables(SIBLINGS);
    let mut stage = world.config::<SftMethod>("faults/long-sft", "max_steps = 1\nmin_gain = -100.0", &tables);
    stage.run.data.annotations.clone_from(&path);
    let mut listener = Listener::default();
    stage.run(&mut listener).unwrap();
    let said = |listener: &Listener, what: &str| {
        listener.messages.iter().any(|message| message.contains(what) && message.contains("giraffe giraffe"))
    };
    assert!(
        said(&listener, "longer than the rewriter can read or write: skipped"),
        "{:?}",
        listener.messages
    );

    let mut stage = world.config::<PpoMethod>("faults/long-ppo", "max_steps = 2", &world.starting_tables(""));
    stage.run.data.annotations = path;
    stage.run.batch_size = 12;
    let mut listener = Listener::default();
    stage.run(&mut listener).unwrap();
    assert!(said(&listener, "a prompt longer than the context for"), "{:?}", listener.messages);
    let skipped =
        |record: &&serde_json::Map<String, Value>| record.get("skipped_rollouts").is_some_and(|n| n != 0);
    assert!(listener.records.iter().any(|record| skipped(&record)));
}

/// Cuts a file's end off, as a full disk or a lost page would.
fn truncate(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let world = world();
    let tables = world.starting_tables(SIBLINGS);
    let top = "max_steps = 5\nmin_gain = -100.0";
    let whole = world.config::<SftMethod>("faults/whole", top, &tables);
    finish(&whole).unwrap();
    let damaged = world.config::<SftMethod>("faults/damaged", top, &tables);
    assert!(matches!(damaged.run(&mut StopAfter(4)).unwrap_err(), TrainingError::Interrupted { .. }));
    let checkpoints = damaged.run.output.join("checkpoints");
    truncate(&checkpoints.join("step-4/optimizer.safetensors"));
    let mut listener = Listener::default();
    damaged.run(&mut listener).unwrap();
    assert!(
        listener.messages.iter().any(|text| text == "continuing after step 2"),
        "{:?}",
        listener.messages
    );
    let (whole, resumed) = (bytes(&whole.run.output, 5), bytes(&damaged.run.output, 5));
    for (file, whole) in &whole {
        assert!(whole == &resumed[file], "{file} differs");
    }

    let lost = world.config::<SftMethod>("faults/lost", top, &tables);
    lost.run(&mut StopAfter(3)).unwrap_err();
    let checkpoints = lost.run.output.join("checkpoints");
    for entry in std::fs::read_dir(&checkpoints).unwrap() {
        let manifest = entry.unwrap().path().join("manifest.json");
        if manifest.is_file() {
            std::fs::write(manifest, "{").unwrap();
        }
    }
    let error = finish(&lost).unwrap_err();
    assert!(matches!(error, TrainingError::NoUsableCheckpoint { .. }), "{error}");
}
