//! The loop: epochs over queries, a measurement and a checkpoint after each.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use relens::embed::embeddings::Embeddings;
use relens::evaluation::{GroundTruthRanks, RankingMetrics};
use relens::ranking::CombinedQueries;
use serde_json::{Map, Value};

use super::config::SoftConfig;
use super::materials::{Materials, tensor};
use super::network::SoftNetwork;
use crate::optimizer::Gradients;
use crate::random::stream;
use crate::run::checkpoint::CheckpointStore;
use crate::run::epochs::EpochState;
use crate::run::log::{JsonLinesLog, RunDirectory};
use crate::run::trainer::{Trainer, TrainerConfig};
use crate::schedule::{Decay, Schedule};
use crate::stages::rewriter::MODEL_DIRECTORY;
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Checkpoints that are kept beside the best.
const KEEP: usize = 2;

/// What a finished run has to show.
#[derive(Debug, Clone, PartialEq)]
pub struct SoftSummary {
    /// The network's directory, as the enhancer `soft` reads it.
    pub model: PathBuf,
    /// The epoch it is of; 0 is the identity.
    pub best_epoch: u64,
    /// What rewritten queries retrieve on the validation split, text to image, at that epoch.
    pub metrics: Map<String, Value>,
}

/// Trains a network and writes the best.
pub(super) fn run(config: &SoftConfig, progress: &mut dyn Progress) -> Result<SoftSummary> {
    config.check()?;
    let directory = RunDirectory::open(&config.output, config)?;
    let materials = Materials::prepare(config, progress)?;
    let checkpoints = CheckpointStore::open(directory.path(), KEEP)?;
    let mut run = Run::new(config, materials, checkpoints)?;
    run.state = EpochState::resume(&run.checkpoints, &mut run.trainer, progress)?;
    let mut log = directory.log("metrics.jsonl", run.trainer.steps())?;
    run.epochs(&mut log, progress)?;
    run.finish()
}

pub(super) struct Run<'a> {
    config: &'a SoftConfig,
    materials: Materials,
    pub(super) network: SoftNetwork,
    pub(super) trainer: Trainer,
    checkpoints: CheckpointStore,
    state: EpochState,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        config: &'a SoftConfig,
        materials: Materials,
        checkpoints: CheckpointStore,
    ) -> Result<Self> {
        let network = SoftNetwork::new(&config.network, materials.dim(), config.seed)?;
        let steps = batches_of(&materials, config, 1).len() as u64;
        let total_steps = (steps * config.training.epochs).max(1);
        let trainer_config = TrainerConfig {
            adamw: config.optimizer,
            clip_norm: 1.0,
            average_decay: None,
            schedule: Schedule {
                peak: config.training.learning_rate,
                floor: 0.0,
                warmup_steps: (total_steps as f64 * config.training.warmup) as u64,
                total_steps,
                decay: Decay::Cosine,
            },
        };
        let trainer = Trainer::new(trainer_config, network.parameters())?;
        Ok(Self { config, materials, network, trainer, checkpoints, state: EpochState::default() })
    }

    fn epochs(&mut self, log: &mut JsonLinesLog, progress: &mut dyn Progress) -> Result<()> {
        if self.state.best.is_none() {
            self.measure(f64::NAN, log, progress)?;
        }
        progress.begin("epochs", self.config.training.epochs);
        while self.state.epoch < self.config.training.epochs {
            let batches = batches_of(&self.materials, self.config, self.state.epoch + 1);
            let mut total = 0.0;
            for batch in &batches {
                total += self.update(batch)?;
                if progress.cancelled() {
                    return Err(TrainingError::Interrupted { step: self.trainer.steps() });
                }
            }
            self.state.epoch += 1;
            self.measure(total / batches.len().max(1) as f64, log, progress)?;
            progress.advance(self.state.epoch);
        }
        progress.end();
        Ok(())
    }

    /// One update on these queries; the loss.
    pub(super) fn update(&mut self, batch: &[usize]) -> Result<f64> {
        let step = self.trainer.steps() + 1;
        let loss = self.loss(batch, step)?;
        let value = loss.to_scalar::<f32>()?;
        if !value.is_finite() {
            return Err(TrainingError::NonFiniteLoss { step, loss: value });
        }
        let gradients = Gradients::take(&mut loss.backward()?, self.trainer.parameters(), step)?;
        self.trainer.update(&gradients, step)?;
        Ok(f64::from(value))
    }

    fn loss(&self, batch: &[usize], step: u64) -> Result<Tensor> {
        let training = &self.materials.training;
        let mut generator = stream(self.config.seed, "dropout", step);
        let (change, rewritten) =
            self.network.forward(&tensor(&training.queries.select(batch)?)?, Some(&mut generator))?;
        let objective = &self.config.objective;
        let mut loss = (change.sqr()?.mean_all()? * objective.change)?;
        let taught: Vec<f32> =
            batch.iter().map(|&query| f32::from(u8::from(training.has_rewrite[query]))).collect();
        let count = taught.iter().sum::<f32>();
        if objective.distillation > 0.0 && count > 0.0 {
            let targets = tensor(&training.targets.select(batch)?)?;
            let distance = (1.0 - (&rewritten * targets)?.sum(1)?)?;
            let taught = Tensor::from_vec(taught, batch.len(), &Device::Cpu)?;
            let mean = ((distance * taught)?.sum_all()? * (objective.distillation / f64::from(count)))?;
            loss = (loss + mean)?;
        }
        if objective.feedback > 0.0 {
            let pictures: Vec<usize> = batch.iter().map(|&query| training.picture[query]).collect();
            let pictures = tensor(&training.pictures.select(&pictures)?)?;
            let logits = (rewritten.matmul(&pictures.t()?)? * objective.logit_scale.exp())?;
            let own: Vec<u32> = (0..batch.len() as u32).collect();
            let own = Tensor::from_vec(own, (batch.len(), 1), &Device::Cpu)?;
            let right = (logits.gather(&own, 1)?.squeeze(1)? - logits.log_sum_exp(1)?)?;
            loss = (loss - (right.mean_all()? * objective.feedback)?)?;
        }
        Ok(loss)
    }

    /// Measures, logs, and saves a checkpoint.
    fn measure(&mut self, loss: f64, log: &mut JsonLinesLog, progress: &mut dyn Progress) -> Result<()> {
        let validation = &self.materials.validation;
        let (_, rewritten) = self.network.forward(&tensor(&validation.queries)?, None)?;
        let rewritten =
            Embeddings::from_rows(self.materials.dim(), rewritten.detach().flatten_all()?.to_vec1()?)?;
        let ranks = GroundTruthRanks::compute(
            &validation.pictures,
            &CombinedQueries::single(rewritten),
            &validation.picture,
        )?;
        let measured = RankingMetrics::from_ranks(&ranks.text_to_image, &[1, 5, 10])?;
        let run = (&self.trainer, &self.checkpoints);
        self.state.record((&measured, loss), run, log, progress)
    }

    /// Writes the best epoch's network.
    fn finish(mut self) -> Result<SoftSummary> {
        let best = self
            .state
            .best
            .clone()
            .ok_or_else(|| TrainingError::argument("stage soft", "at least one measurement", "none"))?;
        let snapshot = self.checkpoints.load(best.step)?;
        self.trainer.restore(&snapshot, snapshot.step)?;
        let model = self.config.output.join(MODEL_DIRECTORY);
        self.network.write(&model, &self.materials.retriever)?;
        Ok(SoftSummary { model, best_epoch: best.epoch, metrics: best.metrics })
    }
}

/// Batches of an epoch, all queries in random order; no picture is in a batch twice, for it would be a wrong answer to
/// its own query.
pub(super) fn batches_of(materials: &Materials, config: &SoftConfig, epoch: u64) -> Vec<Vec<usize>> {
    let training = &materials.training;
    let mut waiting: Vec<usize> = (0..training.len()).collect();
    waiting.shuffle(&mut stream(config.seed, "batches", epoch));
    let mut batches = Vec::new();
    while waiting.len() >= 2 {
        let mut pictures = std::collections::HashSet::new();
        let mut batch = Vec::with_capacity(config.training.batch_size);
        waiting.retain(|&query| {
            let taken = batch.len() < config.training.batch_size && pictures.insert(training.picture[query]);
            if taken {
                batch.push(query);
            }
            !taken
        });
        if batch.len() < 2 {
            break;
        }
        batches.push(batch);
    }
    batches
}
