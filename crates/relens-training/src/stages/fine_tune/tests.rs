//! Tiny models of every architecture, tuned for a few steps on coloured squares.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use relens::embed::retriever::Retriever;
use relens_models::dual_encoder::architecture::{Architecture, open_weights};
use serde_json::{Value, json};

use super::network::part_of;
use super::run::prepare;
use super::step::PairPlan;
use super::{FineTuneConfig, FineTunedPart, run};
use crate::TrainingError;
use relens::progress::{Progress, Silent};

const TRAINING: usize = 6;
const PICTURES: usize = 9;

/// A model that the Python libraries made, as the tests of the architectures use them.
fn architecture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../relens-models/tests/fixtures/architectures").join(name)
}

/// Nine pictures with two captions each, three of them for validation, and rewrites of every training caption.
fn dataset(directory: &Path) {
    fs_err::create_dir_all(directory.join("images")).unwrap();
    let mut images = Vec::new();
    let mut rewrites = String::new();
    for number in 0..PICTURES {
        let colour = [(number * 37 % 256) as u8, (number * 91 % 256) as u8, (255 - number * 23) as u8];
        let picture = RgbImage::from_fn(40, 40, |x, y| {
            Rgb(if (x + y) as usize % (number + 3) < 2 { [255 - colour[0], colour[1], 9] } else { colour })
        });
        picture.save(directory.join(format!("images/{number}.png"))).unwrap();
        let captions = [format!("a red dog {number}"), format!("two men {number}")];
        for caption in &captions {
            let line = json!({"query": caption, "rewrites": [format!("{caption} on grass")]});
            rewrites.push_str(&format!("{line}\n"));
        }
        let split = if number < TRAINING { "train" } else { "val" };
        let sentences = captions.map(|caption| json!({"raw": caption}));
        images.push(json!({"filename": format!("{number}.png"), "imgid": number, "split": split, "sentences": sentences}));
    }
    let captions = json!({"dataset": "squares", "images": images}).to_string();
    fs_err::write(directory.join("captions.json"), captions).unwrap();
    fs_err::write(directory.join("rewrites.jsonl"), rewrites).unwrap();
}

/// A run in `directory/run` with the data of `directory`; `settings` are TOML lines of the tables that they name.
fn config(directory: &Path, train: &[&str], settings: &str) -> FineTuneConfig {
    let text = format!(
        "output = '{0}/run'\ncache = '{0}/cache'\nseed = 5\n\
         [data]\nannotations = '{0}/captions.json'\nimages = '{0}/images'\nrewrites = ['{0}/rewrites.jsonl']\n\
         [model]\nstart_from = 'unused'\ntrain = {train:?}\n\
         [optimization]\nbatch_size = 4\nimage_chunk = 2\ntext_chunk = 3\nlearning_rate = 1e-3\nwarmup_steps = 0\n{settings}",
        directory.display()
    );
    let path = directory.join("config.toml");
    fs_err::write(&path, text).unwrap();
    FineTuneConfig::read(&path).unwrap()
}

const EVERYTHING: [&str; 5] =
    ["image-tower", "image-projection", "text-tower", "text-projection", "logit-scale"];

fn metrics(run: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Everything is trained for two epochs: all parameters move, nothing else does, and what is exported measures what the
/// log says.
fn check_run(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    dataset(directory.path());
    let config = config(directory.path(), &EVERYTHING, "epochs = 2\n");
    let retriever = Retriever::open(architecture(name)).unwrap();
    let summary = run(&config, &retriever, &mut Silent).unwrap();
    assert_eq!(summary.steps, 6, "{name}");

    let (before, after) = (open_weights(&architecture(name)).unwrap(), open_weights(&summary.model).unwrap());
    let towers = Architecture::open(&summary.model).unwrap();
    let mut moved = std::collections::BTreeMap::<String, usize>::new();
    for tensor in before.names() {
        let shape = before.shape(tensor).unwrap();
        let (Ok(old), Ok(new)) = (before.tensor(tensor, shape), after.tensor(tensor, shape)) else {
            continue;
        };
        let same = old.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            == new.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let statistic = tensor.ends_with("running_mean") || tensor.ends_with("running_var");
        assert!(same || !statistic, "{name}: {tensor} is a statistic and has changed");
        match part_of(tensor, &towers.image, &towers.text) {
            Some(part) if !same => *moved.entry(format!("{part:?}")).or_default() += 1,
            None => assert!(same, "{name}: {tensor} is no parameter and has changed"),
            // CoCa's decoder, SigLIP's bias: not on the way to the embeddings.
            Some(_) => {}
        }
    }
    assert!(moved["ImageTower"] > 10 && moved["TextTower"] > 10 && moved["LogitScale"] == 1, "{moved:?}");

    let tuned = Retriever::open(&summary.model).unwrap();
    let corpus = crate::stages::retriever::corpus::Corpus::read(&config.data).unwrap();
    let bench = prepare(&config, &tuned, &mut Silent).unwrap();
    let measured = bench.measure(&mut Silent).unwrap().metrics();
    assert_eq!(measured, summary.metrics, "{name}");
    assert_eq!(corpus.training_pictures, TRAINING);
}

/// The gradient of everything predicts what a small step along it does to the loss (a directional derivative).
fn check_gradient(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    dataset(directory.path());
    let config = config(directory.path(), &EVERYTHING, "epochs = 1\n");
    let retriever = Retriever::open(architecture(name)).unwrap();
    let bench = prepare(&config, &retriever, &mut Silent).unwrap();
    let batch = PairPlan::new(bench.corpus.training(), &config.data, &config.optimization, 5).batch(0);
    let parameters = bench.network.parameters(1.0);
    let (losses, gradients) = bench.gradients(&batch, &parameters, 1).unwrap();
    let squares =
        |tensor: &candle_core::Tensor| tensor.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    for (side, parts) in [
        ("image", [FineTunedPart::ImageTower, FineTunedPart::ImageProjection]),
        ("text", [FineTunedPart::TextTower, FineTunedPart::TextProjection]),
    ] {
        let architecture = retriever.encoder().architecture();
        let of_side: Vec<_> = parameters
            .iter()
            .zip(gradients.tensors())
            .filter(|(parameter, _)| {
                part_of(&parameter.name, &architecture.image, &architecture.text)
                    .is_some_and(|part| parts.contains(&part))
            })
            .collect();
        let slope: f64 = of_side.iter().map(|(_, gradient)| f64::from(squares(gradient))).sum();
        // A step that changes the loss by a thousandth, either way.
        let step = 0.001 / slope;
        let shifted = |sign: f64| {
            for (parameter, gradient) in &of_side {
                let moved =
                    (parameter.var.as_detached_tensor() + (*gradient * (sign * step)).unwrap()).unwrap();
                parameter.var.set(&moved).unwrap();
            }
            bench.gradients(&batch, &parameters, 1).unwrap().0.loss
        };
        let (up, down) = (shifted(1.0), shifted(-2.0));
        shifted(1.0);
        let found = (up - down) / 0.002;
        assert!(
            (found - 1.0).abs() < 0.1,
            "{name}, {side}: loss {}, {found} of what was expected",
            losses.loss
        );
    }
}

macro_rules! architectures {
    ($($name:ident)*) => {$(
        mod $name {
            #[test]
            fn is_tuned_whole() {
                super::check_run(stringify!($name));
            }

            #[test]
            fn has_the_gradient_that_differences_show() {
                super::check_gradient(stringify!($name));
            }
        }
    )*};
}

architectures! {
    open_clip_vit
    open_clip_resnet
    open_clip_chinese_resnet
    open_clip_coca
    open_clip_eva02
    open_clip_siglip
    hugging_face_clip
    hugging_face_siglip
    hugging_face_chinese_clip
    original_chinese_clip
}

#[test]
fn chunks_give_the_gradient_of_the_whole_batch() {
    let directory = tempfile::tempdir().unwrap();
    dataset(directory.path());
    let mut config = config(directory.path(), &EVERYTHING, "epochs = 1\n");
    let retriever = Retriever::open(architecture("open_clip_vit")).unwrap();
    let mut found = Vec::new();
    for chunk in [0, 1, 3] {
        (config.optimization.image_chunk, config.optimization.text_chunk) = (chunk, chunk);
        let bench = prepare(&config, &retriever, &mut Silent).unwrap();
        let batch = PairPlan::new(bench.corpus.training(), &config.data, &config.optimization, 5).batch(0);
        let (losses, gradients) = bench.gradients(&batch, &bench.network.parameters(1.0), 1).unwrap();
        let values: Vec<f32> = gradients
            .tensors()
            .iter()
            .flat_map(|gradient| gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            .collect();
        found.push((losses.loss, values));
    }
    let (loss, whole) = &found[0];
    let largest = whole.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    for (other_loss, values) in &found[1..] {
        assert!((loss - other_loss).abs() < 1e-5);
        let difference = whole.iter().zip(values).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
        assert!(difference < 1e-4 * largest, "{difference} of {largest}");
    }
}

/// Stops after a number of questions.
struct StopAfter(u64);

impl Progress for StopAfter {
    fn cancelled(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 == 0
    }
}

#[test]
fn an_interrupted_run_gives_the_same_bytes() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [whole, interrupted] = directories.each_ref().map(|directory| {
        dataset(directory.path());
        // Every measurement is the best so far or not by the same numbers: the data are the same.
        config(
            directory.path(),
            &["text-tower", "text-projection", "logit-scale"],
            "epochs = 3\ncheckpoint_steps = 2\n",
        )
    });
    let retriever = Retriever::open(architecture("open_clip_vit")).unwrap();
    run(&whole, &retriever, &mut Silent).unwrap();
    for stop in [1, 3, 2] {
        let error = run(&interrupted, &retriever, &mut StopAfter(stop)).unwrap_err();
        assert!(matches!(error, TrainingError::Interrupted { .. }), "{error}");
        assert!(!interrupted.output.join("model").exists());
    }
    let summary = run(&interrupted, &retriever, &mut Silent).unwrap();
    assert_eq!(summary.steps, 9);
    for file in ["metrics.jsonl", "samples.jsonl", "model/open_clip_model.safetensors", "model/metrics.json"]
    {
        let read = |config: &FineTuneConfig| fs_err::read(config.output.join(file)).unwrap();
        assert!(read(&whole) == read(&interrupted), "{file}");
    }
    assert_eq!(
        run(&interrupted, &retriever, &mut Silent).unwrap(),
        summary,
        "a finished run is left as it is"
    );
}

#[test]
fn a_frozen_image_side_is_embedded_once_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    dataset(directory.path());
    let config = config(directory.path(), &["text-tower", "text-projection"], "epochs = 1\n");
    let retriever = Retriever::open(architecture("hugging_face_clip")).unwrap();
    let summary = run(&config, &retriever, &mut Silent).unwrap();
    assert_eq!(fs_err::read_dir(directory.path().join("cache")).unwrap().count(), 1);
    let (before, after) =
        (open_weights(&architecture("hugging_face_clip")).unwrap(), open_weights(&summary.model).unwrap());
    for name in before.names().filter(|name| name.starts_with("vision_model.") || *name == "logit_scale") {
        let shape = before.shape(name).unwrap();
        let Ok(old) = before.tensor(name, shape) else { continue };
        let new = after.tensor(name, shape).unwrap();
        let values = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&old), values(&new), "{name}");
    }
    let log = metrics(&config.output);
    assert_eq!((log[0]["step"].as_u64(), log[0]["split"].as_str()), (Some(0), Some("validation")));
    assert!(log[1]["loss"].as_f64().unwrap() > 0.0);
}

#[test]
fn an_epoch_shows_every_caption_once_and_rewrites_by_their_chance() {
    let directory = tempfile::tempdir().unwrap();
    dataset(directory.path());
    let mut config = config(directory.path(), &EVERYTHING, "epochs = 2\n");
    let corpus = crate::stages::retriever::corpus::Corpus::read(&config.data).unwrap();
    let shown = |config: &FineTuneConfig| -> Vec<usize> {
        let plan = PairPlan::new(corpus.training(), &config.data, &config.optimization, 1);
        assert_eq!((plan.steps_per_epoch(), plan.total_steps()), (3, 6));
        let mut texts = Vec::new();
        for update in 0..3 {
            let batch = plan.batch(update);
            assert_eq!(batch.texts.len(), 4);
            for (&text, &row) in batch.texts.iter().zip(&batch.image_of_text) {
                let picture = &corpus.pictures[batch.pictures[row as usize]];
                assert!(picture.captions.contains(&text) || picture.rewrites.concat().contains(&text));
            }
            texts.extend(batch.texts);
        }
        texts.sort_unstable();
        texts
    };
    let training = |texts: fn(&crate::stages::retriever::corpus::ImageTexts) -> Vec<usize>| -> Vec<usize> {
        let mut all: Vec<usize> = corpus.training().iter().flat_map(texts).collect();
        all.sort_unstable();
        all
    };
    config.data.rewriting_probability = 0.0;
    assert_eq!(shown(&config), training(|picture| picture.captions.clone()));
    config.data.rewriting_probability = 1.0;
    assert_eq!(shown(&config), training(|picture| picture.rewrites.concat()));
    config.data.rewriting_probability = 0.6;
    let drawn = shown(&config);
    let kept =
        drawn.iter().filter(|text| training(|picture| picture.captions.clone()).contains(text)).count();
    assert!((1..12).contains(&kept), "{kept} of 12 captions were kept");
}

#[test]
fn what_cannot_be_meant_is_named() {
    let directory = tempfile::tempdir().unwrap();
    dataset(directory.path());
    let path = directory.path().join("config.toml");
    config(directory.path(), &["text-tower"], "");
    let text = fs_err::read_to_string(&path).unwrap();
    for (from, to, expected) in [
        ("seed = 5", "sed = 5", "sed"),
        ("batch_size = 4", "batch_size = 1", "optimization.batch_size"),
        ("learning_rate = 1e-3", "learning_rate = -1.0", "optimization.learning_rate"),
        ("train = [\"text-tower\"]", "train = [\"logit-scale\"]", "model.train"),
        ("train = [\"text-tower\"]", "train = [\"text-towr\"]", "text-towr"),
        ("batch_size = 4", "batch_size = 4\nepochs = 0", "optimization.epochs"),
    ] {
        fs_err::write(&path, text.replace(from, to)).unwrap();
        let error = FineTuneConfig::read(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn plans_need_sizes_alone() {
    let directory = tempfile::tempdir().unwrap();
    dataset(directory.path());
    let config = config(directory.path(), &EVERYTHING, "epochs = 2\n");
    let whole = super::plan(&config, &architecture("open_clip_vit")).unwrap();
    assert_eq!((whole.examples, whole.steps), (Some(12), Some(6)));
    assert!(whole.weight_files == 1 && whole.trained > 0 && whole.memory > 4 * whole.parameters);
    let sizes = directory.path().join("sizes");
    fs_err::create_dir(&sizes).unwrap();
    let file = "open_clip_config.json";
    fs_err::copy(architecture("open_clip_vit").join(file), sizes.join(file)).unwrap();
    let counted = super::plan(&config, &sizes).unwrap();
    // Norms and projections are counted roughly.
    let ratio = counted.parameters as f64 / whole.parameters as f64;
    assert!(counted.weight_files == 0 && (0.8..1.2).contains(&ratio), "{ratio}");
}
