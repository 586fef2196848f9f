//! The retriever stage from files to files: pictures, towers and captions on disk in, a model directory out.
//!
//! The trunk is an EfficientNet-Lite0 with random weights on 32 × 32 pictures, the text tower a BERT of two layers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use std::path::Path;

use relens::embed::retriever::Retriever;
use relens::progress::{Progress, Silent};
use relens_models::weights::Weights;
use relens_training::TrainingError;
use relens_training::run::checkpoint::CheckpointStore;
use relens_training::stages::retriever::config::TrainedPart;
use relens_training::stages::retriever::{RetrieverConfig, RunSummary, run};
use serde_json::Value;
use world::World;

/// Remembers which features were computed.
#[derive(Default)]
struct Tasks(Vec<String>);

impl Progress for Tasks {
    fn begin(&mut self, task: &str, _total: u64) {
        self.0.push(task.to_owned());
    }
}

/// Stops as soon as it is asked.
struct Stop;

impl Progress for Stop {
    fn cancelled(&mut self) -> bool {
        true
    }
}

fn train(config: &RetrieverConfig) -> RunSummary {
    run(config, &mut Silent).unwrap()
}

fn losses(output: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line.get("loss")?.as_f64()).collect()
}

fn values(model: &Path, name: &str) -> Vec<f32> {
    let weights = Weights::open(model.join("open_clip_model.safetensors")).unwrap();
    weights.stored(name, weights.shape(name).unwrap()).unwrap().to_f32().unwrap()
}

#[test]
fn the_end_of_the_trunk_is_trained_and_its_statistics_are_not() {
    let world = World::new();
    let config = world.config("trunk");
    train(&config);
    assert!(losses(&config.output).iter().all(|loss| loss.is_finite()));
    // The last checkpoint: the best one, which is exported, may be of the first phase.
    let trained = CheckpointStore::open(&config.output, 2).unwrap().latest().unwrap().unwrap().weights;
    for name in ["blocks.6.0.conv_pw.weight", "blocks.6.0.bn3.weight", "conv_head.weight", "bn2.bias"] {
        let after = trained[&format!("visual.trunk.{name}")].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let moved =
            world.trunk_values(name).iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!(moved * 2 > after.len(), "{name}: {moved} of {} values moved", after.len());
    }
    for name in ["blocks.5.3.conv_pw.weight", "blocks.6.0.bn1.running_var", "bn2.running_mean"] {
        assert!(!trained.contains_key(&format!("visual.trunk.{name}")), "{name} is not to be trained");
    }
}

#[test]
fn the_exported_model_opens_and_measures_what_the_run_says() {
    let world = World::new();
    let config = world.config("export");
    let summary = train(&config);
    let retriever = Retriever::open(&summary.model).unwrap();
    let pictures: Vec<_> = world
        .validation()
        .map(|path| relens_models::image_preprocessing::decode_image(path).unwrap())
        .collect();
    let images = retriever.embed_images(&pictures).unwrap();
    let captions: Vec<String> = world.validation_captions();
    let texts = retriever.embed_texts(&captions).unwrap();
    let per_picture = captions.len() / pictures.len();
    let found = (0..captions.len())
        .filter(|&caption| {
            let scores = images.scores(texts.row(caption)).unwrap();
            let own = scores[caption / per_picture];
            scores.iter().filter(|&&score| score >= own).count() == 1
        })
        .count();
    let recall = found as f64 / captions.len() as f64;
    let reported = summary.metrics["image_retrieval_recall@1"].as_f64().unwrap();
    // The run measures the trunk's frozen part from cached half-precision maps: one caption may change places.
    assert!(
        (recall - reported).abs() <= 1.5 / captions.len() as f64,
        "{recall} measured, {reported} reported"
    );
}

#[test]
fn features_are_computed_once_and_shared_between_runs() {
    let world = World::new();
    let mut first = Tasks::default();
    run(&world.config("first"), &mut first).unwrap();
    let features = |tasks: &Tasks| tasks.0.iter().filter(|task| task.starts_with("features")).count();
    assert!(features(&first) >= 5, "{:?}", first.0);
    let mut second = Tasks::default();
    let mut config = world.config("second");
    config.seed += 1;
    run(&config, &mut second).unwrap();
    assert_eq!(features(&second), 0, "{:?}", second.0);
}

#[test]
fn a_student_learns_from_finished_runs() {
    let world = World::new();
    let mut teachers = Vec::new();
    for seed in 0..2 {
        let mut config = world.config(&format!("teacher{seed}"));
        config.seed = seed;
        train(&config);
        teachers.push(config.output);
    }
    let mut config = world.config("student");
    let alone = train(&config);
    config.output = world.path("distilled");
    config.objective.teacher.models = teachers;
    config.objective.teacher.weight = 0.6;
    let distilled = train(&config);
    assert_ne!(losses(&world.path("student")), losses(&world.path("distilled")));
    assert_eq!(alone.steps, distilled.steps);
}

#[test]
fn teachers_may_read_other_captions_of_the_same_pictures() {
    let world = World::new();
    let mut config = world.config("teacher");
    train(&config);
    config.objective.teacher.models = vec![world.path("teacher")];
    config.objective.teacher.weight = 0.6;
    config.output = world.path("own");
    train(&config);
    // The same captions in another file are the same captions.
    config.objective.teacher.captions = Some(config.data.annotations.clone());
    config.output = world.path("aligned");
    train(&config);
    assert_eq!(losses(&world.path("own")), losses(&world.path("aligned")));
    let few = world.path("few.jsonl");
    std::fs::write(&few, r#"{"image": "elsewhere.png", "captions": ["red"]}"#).unwrap();
    config.objective.teacher.captions = Some(few);
    config.output = world.path("few");
    let error = run(&config, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("few.jsonl") && error.contains("found none"), "{error}");
}

#[test]
fn a_finished_model_can_be_fine_tuned_and_begins_where_it_was() {
    let world = World::new();
    let first = train(&world.config("first"));
    let mut config = world.config("second");
    config.model.start_from = Some(first.model.clone());
    config.model.image_weights = None;
    config.model.text_tower = None;
    config.phases.truncate(1);
    config.phases[0].learning_rate = 0.0;
    config.phases[0].epochs = 1;
    let second = train(&config);
    for key in ["image_retrieval_recall@1", "text_retrieval_recall@5"] {
        let (before, after) = (first.metrics[key].as_f64().unwrap(), second.metrics[key].as_f64().unwrap());
        assert!((before - after).abs() < 0.13, "{key}: {before}, then {after} without a step");
    }
    for name in ["visual.head.proj.weight", "visual.head.proj.bias", "text.proj.0.weight"] {
        let (before, after) = (values(&first.model, name), values(&second.model, name));
        let largest = before.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        for (before, after) in before.iter().zip(after) {
            assert!((before - after).abs() <= 2e-3 * largest, "{name}: {before} became {after}");
        }
    }
}

#[test]
fn a_run_stopped_while_computing_features_goes_on() {
    let world = World::new();
    let config = world.config("stopped");
    for _ in 0..8 {
        let error = run(&config, &mut Stop).unwrap_err();
        assert!(matches!(error, TrainingError::Interrupted { .. }), "{error}");
    }
    let stopped = train(&config);
    let whole = World::new();
    assert_eq!(stopped.metrics, train(&whole.config("whole")).metrics);
}

#[test]
fn broken_inputs_are_named() {
    let world = World::new();
    let fails = |config: &RetrieverConfig| run(config, &mut Silent).unwrap_err().to_string();

    let mut config = world.config("unknown-block");
    config.phases[1].image_trunk_from = "9.9".into();
    assert!(fails(&config).contains("phase[1].image_trunk_from"), "{}", fails(&config));

    let mut config = world.config("no-weights");
    config.model.image_weights = Some(world.path("missing.safetensors"));
    assert!(fails(&config).contains("missing.safetensors"), "{}", fails(&config));

    let picture = world.training().next().unwrap();
    let bytes = std::fs::read(&picture).unwrap();
    std::fs::write(&picture, &bytes[..bytes.len() / 2]).unwrap();
    let error = fails(&world.config("broken-picture"));
    assert!(error.contains(&picture.file_name().unwrap().to_string_lossy().into_owned()), "{error}");
}

#[test]
fn frozen_parts_keep_every_bit_but_rounding() {
    let world = World::new();
    let mut config = world.config("frozen");
    config.phases.truncate(1);
    config.phases[0].train = vec![TrainedPart::TextHead];
    let summary = train(&config);
    let name = "conv_stem.weight";
    let trunk = values(&summary.model, &format!("visual.trunk.{name}"));
    for (before, after) in world.trunk_values(name).iter().zip(trunk) {
        assert!((before - after).abs() <= 1e-3 * before.abs().max(1e-3), "{before} became {after}");
    }
}
