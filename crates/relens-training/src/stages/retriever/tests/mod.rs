//! The stage as a whole, on a tiny model: it learns, it resumes with the same bytes, it trains what it should.

mod configuration;
mod resuming;
mod tiny;

use std::path::Path;

use relens_models::weights::Weights;

use super::RunSummary;
use super::config::{RetrieverConfig, TrainedPart};
use super::run::run_on;
use relens::progress::{Progress, Silent};

/// Runs the tiny stage in `config.output`.
fn train(config: &RetrieverConfig, progress: &mut dyn Progress) -> crate::Result<RunSummary> {
    let directory = config.output.clone();
    run_on(config, progress, |_| Ok(tiny::data(config, &directory)))
}

fn metrics(output: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn exported(output: &Path) -> Weights {
    Weights::open(output.join("model/open_clip_model.safetensors")).unwrap()
}

fn values(weights: &Weights, name: &str) -> Vec<f32> {
    weights.stored(name, weights.shape(name).unwrap()).unwrap().to_f32().unwrap()
}

#[test]
fn it_learns_to_find_pictures() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = tiny::config(directory.path());
    config.phases.truncate(1);
    config.phases[0].epochs = 30;
    let summary = train(&config, &mut Silent).unwrap();
    let lines = metrics(directory.path());
    let losses: Vec<f64> = lines.iter().filter_map(|line| line.get("loss")?.as_f64()).collect();
    assert!(
        losses.last().unwrap() + 0.3 < losses[0],
        "loss from {} to {}",
        losses[0],
        losses.last().unwrap()
    );
    let recall = summary.metrics["image_retrieval_recall@1"].as_f64().unwrap();
    assert!(recall > 0.4, "recall {recall}, chance is 0.125");
}

#[test]
fn every_trained_parameter_changes_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let config = tiny::config(directory.path());
    let before = tiny::data(&config, directory.path()).weights;
    train(&config, &mut Silent).unwrap();
    let checkpoints = crate::run::checkpoint::CheckpointStore::open(directory.path(), 2).unwrap();
    let after = checkpoints.latest().unwrap().unwrap().weights;
    let trained_layer = "text.transformer.encoder.layer.1.";
    for name in before.names() {
        let expected = name == "logit_scale"
            || name.starts_with("visual.head.")
            || name.starts_with("text.proj.")
            || name.starts_with(trained_layer);
        assert_eq!(after.contains_key(name), expected, "{name}");
        if let Some(after) = after.get(name) {
            let mut sum_before: Vec<f32> = values(&before, name);
            let mut sum_after: Vec<f32> = after.flatten_all().unwrap().to_vec1().unwrap();
            // Sorted, because the optimizer's layout of a matrix may be the transpose.
            sum_before.sort_by(f32::total_cmp);
            sum_after.sort_by(f32::total_cmp);
            assert_ne!(sum_before, sum_after, "{name} did not move");
        }
    }
    let frozen = "text.transformer.encoder.layer.0.output.dense.weight";
    let exported = exported(directory.path());
    for (before, after) in values(&before, frozen).iter().zip(values(&exported, frozen)) {
        assert!((before - after).abs() < 1e-3, "{frozen} changed beyond f16");
    }
}

#[test]
fn the_export_measures_what_the_best_checkpoint_measured() {
    let directory = tempfile::tempdir().unwrap();
    let config = tiny::config(directory.path());
    let summary = train(&config, &mut Silent).unwrap();
    let best = metrics(directory.path())
        .into_iter()
        .find(|line| line["step"] == summary.best_step && line.get("split").is_some())
        .unwrap();
    for key in ["image_retrieval_recall@1", "text_retrieval_recall@1", "image_retrieval_recall@5"] {
        let (trained, exported) = (best[key].as_f64().unwrap(), summary.metrics[key].as_f64().unwrap());
        // One of 24 captions may change places by f16 rounding.
        assert!((trained - exported).abs() < 0.05, "{key}: {trained} trained, {exported} exported");
    }
    let names: Vec<String> = std::fs::read_dir(directory.path().join("model"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    for name in ["open_clip_config.json", "open_clip_model.safetensors", "config.json", "tokenizer.json"] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
}

#[test]
fn chunks_of_the_text_tower_equal_the_whole_batch() {
    let run = |text_chunk: usize| {
        let directory = tempfile::tempdir().unwrap();
        let mut config = tiny::config(directory.path());
        config.phases.remove(0);
        config.phases[0].text_chunk = text_chunk;
        // Masks are drawn per chunk, so that none of them may be used here.
        config.phases[0].text_tower_dropout = false;
        config.augmentation.text_dropout = 0.0;
        train(&config, &mut Silent).unwrap();
        metrics(directory.path()).iter().filter_map(|line| line.get("loss")?.as_f64()).collect::<Vec<_>>()
    };
    for (whole, chunked) in run(0).iter().zip(run(5)) {
        assert!((whole - chunked).abs() < 1e-4, "{whole} whole, {chunked} in chunks");
    }
}

#[test]
fn patience_ends_a_phase_early() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = tiny::config(directory.path());
    config.phases.truncate(1);
    config.phases[0].learning_rate = 0.0;
    config.phases[0].train = vec![TrainedPart::TextHead];
    config.evaluation.patience = 2;
    let summary = train(&config, &mut Silent).unwrap();
    assert_eq!((summary.best_step, summary.steps), (2, 6), "measured at 2, no better at 4 and 6");
}
