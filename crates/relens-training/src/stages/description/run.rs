//! The loop: epochs over pictures, a measurement and a checkpoint after each.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use rand::RngExt;
use rand::seq::SliceRandom;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::evaluation::{GroundTruthRanks, RankingMetrics};
use relens::ranking::CombinedQueries;
use serde::Serialize;
use serde_json::{Map, Value};

use super::config::DescriptionConfig;
use super::materials::{DescribedCaption, DescribedSplit, Materials};
use super::network::DescriptionNetwork;
use crate::objectives::contrastive::{ContrastiveObjective, contrastive};
use crate::objectives::targets::ContrastiveTargets;
use crate::objectives::temperature::{MAX_LOGIT_SCALE, clamp_logit_scale};
use crate::optimizer::{Gradients, NamedParameter};
use crate::random::stream;
use crate::run::checkpoint::CheckpointStore;
use crate::run::epochs::EpochState;
use crate::run::log::{JsonLinesLog, RunDirectory};
use crate::run::trainer::{Trainer, TrainerConfig};
use crate::schedule::{Decay, Schedule};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Checkpoints that are kept beside the best.
const KEEP: usize = 2;
/// Captions that are measured at once.
const MEASURED_AT_ONCE: usize = 1000;

/// What a finished run has to show.
#[derive(Debug, Clone, PartialEq)]
pub struct DescriptionSummary {
    /// What was learned, as the enhancer reads it.
    pub file: PathBuf,
    /// The epoch it is of; 0 is before training.
    pub best_epoch: u64,
    /// How well descriptions alone retrieve the pictures of the validation split, text to image, at that epoch.
    pub metrics: Map<String, Value>,
}

/// Trains a network and writes the best.
pub(super) fn run<N: DescriptionNetwork>(
    config: &DescriptionConfig<N::Settings>,
    progress: &mut dyn Progress,
) -> Result<DescriptionSummary>
where
    N::Settings: Serialize,
{
    config.check()?;
    let directory = RunDirectory::open(&config.output, config)?;
    let retriever = Arc::new(Retriever::load(&config.model)?);
    let materials = Materials::prepare(config, &retriever, progress)?;
    drop(retriever);
    let network = N::new(config, &materials)?;
    let checkpoints = CheckpointStore::open(directory.path(), KEEP)?;
    let mut run = Run::new(config, materials, network, checkpoints)?;
    run.state = EpochState::resume(&run.checkpoints, &mut run.trainer, progress)?;
    let mut log = directory.log("metrics.jsonl", run.trainer.steps())?;
    run.epochs(&mut log, progress)?;
    run.finish(directory.path())
}

struct Run<'a, N: DescriptionNetwork> {
    config: &'a DescriptionConfig<N::Settings>,
    materials: Materials,
    network: N,
    logit_scale: Var,
    trainer: Trainer,
    checkpoints: CheckpointStore,
    state: EpochState,
}

impl<'a, N: DescriptionNetwork> Run<'a, N> {
    fn new(
        config: &'a DescriptionConfig<N::Settings>,
        materials: Materials,
        network: N,
        checkpoints: CheckpointStore,
    ) -> Result<Self> {
        let settings = config.training;
        let start = Tensor::full(settings.initial_logit_scale as f32, (), &Device::Cpu)?;
        let logit_scale = Var::from_tensor(&start)?;
        let mut parameters = network.parameters();
        parameters.push(NamedParameter::new("logit_scale", logit_scale.clone()));
        let steps = batches_of(&materials.training, config.seed, settings.batch_size, 1).len() as u64;
        let total_steps = (steps * settings.epochs).max(1);
        let trainer_config = TrainerConfig {
            adamw: config.optimizer,
            clip_norm: 1.0,
            average_decay: None,
            schedule: Schedule {
                peak: settings.learning_rate,
                floor: 0.0,
                warmup_steps: (total_steps as f64 * settings.warmup) as u64,
                total_steps,
                decay: Decay::Cosine,
            },
        };
        let trainer = Trainer::new(trainer_config, parameters)?;
        Ok(Self {
            config,
            materials,
            network,
            logit_scale,
            trainer,
            checkpoints,
            state: EpochState::default(),
        })
    }

    fn epochs(&mut self, log: &mut JsonLinesLog, progress: &mut dyn Progress) -> Result<()> {
        if self.state.best.is_none() {
            self.measure(f64::NAN, log, progress)?;
        }
        progress.begin("epochs", self.config.training.epochs);
        while self.state.epoch < self.config.training.epochs {
            let loss = self.epoch(progress)?;
            self.state.epoch += 1;
            self.measure(loss, log, progress)?;
            progress.advance(self.state.epoch);
        }
        progress.end();
        Ok(())
    }

    /// One caption of every picture; the mean loss.
    fn epoch(&mut self, progress: &mut dyn Progress) -> Result<f64> {
        let epoch = self.state.epoch + 1;
        let batches =
            batches_of(&self.materials.training, self.config.seed, self.config.training.batch_size, epoch);
        let mut total = 0.0;
        for batch in &batches {
            total += self.update(batch)?;
            if progress.cancelled() {
                return Err(TrainingError::Interrupted { step: self.trainer.steps() });
            }
        }
        Ok(total / batches.len().max(1) as f64)
    }

    fn update(&mut self, choice: &[(usize, usize)]) -> Result<f64> {
        let step = self.trainer.steps() + 1;
        let training = &self.materials.training;
        let captions: Vec<&DescribedCaption> = choice
            .iter()
            .filter_map(|&(image, caption)| training.captions.get(image)?.get(caption))
            .collect();
        let images: Vec<usize> = choice.iter().map(|&(image, _)| image).collect();
        let images = training.images.select(&images)?;
        let images = Tensor::from_slice(images.as_slice(), (images.rows(), images.dim()), &Device::Cpu)?;
        let mut generator = stream(self.config.seed, "dropout", step);
        let texts = self.network.embed(&self.materials.batch(&captions)?, Some(&mut generator))?;
        let diagonal: Vec<u32> = (0..choice.len() as u32).collect();
        let targets = ContrastiveTargets::joint(choice.len(), &diagonal, &Device::Cpu)?;
        let objective = ContrastiveObjective::default();
        let loss = contrastive(&images, &texts, self.logit_scale.as_tensor(), &targets, &objective)?.loss;
        let value = loss.to_scalar::<f32>()?;
        if !value.is_finite() {
            return Err(TrainingError::NonFiniteLoss { step, loss: value });
        }
        let gradients = Gradients::take(&mut loss.backward()?, self.trainer.parameters(), step)?;
        self.trainer.update(&gradients, step)?;
        clamp_logit_scale(&self.logit_scale, MAX_LOGIT_SCALE)?;
        Ok(f64::from(value))
    }

    /// Measures, logs, and saves a checkpoint.
    fn measure(&mut self, loss: f64, log: &mut JsonLinesLog, progress: &mut dyn Progress) -> Result<()> {
        let measured = self.measured()?;
        let run = (&self.trainer, &self.checkpoints);
        self.state.record((&measured, loss), run, log, progress)
    }

    /// How descriptions alone rank the pictures of the validation split.
    fn measured(&self) -> Result<RankingMetrics> {
        let split = &self.materials.validation;
        let all = split.captions.iter().enumerate();
        let all: Vec<(usize, &DescribedCaption)> =
            all.flat_map(|(image, captions)| captions.iter().map(move |caption| (image, caption))).collect();
        let mut queries = Embeddings::new(self.materials.dim());
        for chunk in all.chunks(MEASURED_AT_ONCE) {
            let captions: Vec<&DescribedCaption> = chunk.iter().map(|(_, caption)| *caption).collect();
            let rows = self.network.embed(&self.materials.batch(&captions)?, None)?;
            let values = rows.detach().flatten_all()?.to_vec1::<f32>()?;
            queries.append(&Embeddings::from_rows(self.materials.dim(), values)?)?;
        }
        let image_of_caption: Vec<usize> = all.iter().map(|(image, _)| *image).collect();
        let queries = CombinedQueries::single(queries);
        let ranks = GroundTruthRanks::compute(&split.images, &queries, &image_of_caption)?;
        Ok(RankingMetrics::from_ranks(&ranks.text_to_image, &[1, 5, 10])?)
    }

    /// Writes what the best epoch learned.
    fn finish(mut self, directory: &std::path::Path) -> Result<DescriptionSummary> {
        let best = self.state.best.clone().ok_or_else(|| {
            TrainingError::argument("description stage", "at least one measurement", "none")
        })?;
        let snapshot = self.checkpoints.load(best.step)?;
        self.trainer.restore(&snapshot, snapshot.step)?;
        let file = self.network.write(&self.materials, directory)?;
        Ok(DescriptionSummary { file: directory.join(file), best_epoch: best.epoch, metrics: best.metrics })
    }
}

/// Batches of an epoch: pictures that have a described caption in random order, with one of their captions each. What is
/// left over at the end is passed over, for a batch's size decides how hard it is.
fn batches_of(split: &DescribedSplit, seed: u64, size: usize, epoch: u64) -> Vec<Vec<(usize, usize)>> {
    let mut random = stream(seed, "batches", epoch);
    let mut pictures: Vec<usize> =
        (0..split.captions.len()).filter(|&image| !split.captions[image].is_empty()).collect();
    pictures.shuffle(&mut random);
    let size = size.min(pictures.len()).max(1);
    let choice = |image: &usize| (*image, random.random_range(0..split.captions[*image].len()));
    let chosen: Vec<(usize, usize)> = pictures.iter().map(choice).collect();
    chosen.chunks_exact(size).map(<[_]>::to_vec).collect()
}
