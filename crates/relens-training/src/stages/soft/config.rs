//! Settings of the stage, read from TOML; an unknown field is an error.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::candidates::CandidateConfig;
use crate::data::corpus::CorpusConfig;
use crate::optimizer::AdamWConfig;
use crate::reward::RewardConfig;
use crate::stages::rewriter::RetrieverSettings;
use crate::stages::rewriter::config::{in_range, read_toml};
use crate::{Result, TrainingError};

/// Settings of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftConfig {
    /// The run's directory: settings, log, checkpoints, and at the end the network in `model/`.
    pub output: PathBuf,
    /// Decides initial weights, order and dropout. Default 0. The same seed gives the same bytes on the same machine.
    #[serde(default)]
    pub seed: u64,
    /// Pictures and captions.
    pub data: CorpusConfig,
    /// Queries with candidate rewrites.
    pub candidates: CandidateConfig,
    /// What candidates without a reward are ranked by.
    #[serde(default)]
    pub reward: RewardConfig,
    /// The retriever in whose space the network works, and the one that rewards.
    #[serde(default)]
    pub retriever: RetrieverSettings,
    /// The network.
    #[serde(default)]
    pub network: NetworkSettings,
    /// What is learned.
    #[serde(default)]
    pub objective: ObjectiveSettings,
    /// Batches and epochs.
    #[serde(default)]
    pub training: TrainingSettings,
    /// AdamW.
    #[serde(default)]
    pub optimizer: AdamWConfig,
}

/// The network's sizes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSettings {
    /// Units of the hidden layer. Default 128, range [1, 65536].
    pub hidden: usize,
    /// What the change is multiplied by at search. Default 1, range [0, 10].
    pub strength: f64,
    /// Chance that a component of a query's embedding is set to 0 while training. Default 0.1, range [0, 1).
    pub dropout: f32,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self { hidden: 128, strength: 1.0, dropout: 0.1 }
    }
}

/// What is learned, each part with its weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveSettings {
    /// Weight of 1 − cos(rewritten, mean of the query's accepted rewrites). Default 1, at least 0.
    pub distillation: f64,
    /// Weight of the cross-entropy of finding the query's picture among those of the batch: the retriever's feedback.
    /// Default 0.1, at least 0.
    pub feedback: f64,
    /// Weight of the mean square of the change, which keeps it small. Default 0, at least 0.
    pub change: f64,
    /// log(1/τ) of the feedback's scores. Default 3, range [0, 4.605].
    pub logit_scale: f64,
    /// Least reward of a rewrite that is learned. Default 0: it beats the query.
    pub min_gain: f64,
}

impl Default for ObjectiveSettings {
    fn default() -> Self {
        Self { distillation: 1.0, feedback: 0.1, change: 0.0, logit_scale: 3.0, min_gain: 0.0 }
    }
}

/// Batches and epochs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSettings {
    /// Passes over the queries. Default 10, at least 1.
    pub epochs: u64,
    /// Queries, and competing pictures, of an update. Default 256, at least 2.
    pub batch_size: usize,
    /// The highest learning rate. Default 1e-3.
    pub learning_rate: f64,
    /// The share of steps in which it rises. Default 0.1, range [0, 1].
    pub warmup: f64,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self { epochs: 10, batch_size: 256, learning_rate: 1e-3, warmup: 0.1 }
    }
}

impl SoftConfig {
    /// Reads a TOML file. Relative paths in it are taken from the working directory.
    ///
    /// # Errors
    /// The file cannot be read; it is not TOML, or has an unknown or missing field; a setting is outside its range.
    pub fn read(path: &Path) -> Result<Self> {
        let config: Self = read_toml(path)?;
        config.check()?;
        Ok(config)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`TrainingError::Setting`] naming the field.
    pub fn check(&self) -> Result<()> {
        self.reward.check()?;
        let (network, objective, training) = (&self.network, &self.objective, &self.training);
        if !(1..=65536).contains(&network.hidden) {
            return Err(TrainingError::setting("network.hidden", "in [1, 65536]", &network.hidden));
        }
        in_range("network.strength", network.strength, 0.0, 10.0)?;
        in_range("network.dropout", f64::from(network.dropout), 0.0, 0.99)?;
        for (field, weight) in [
            ("objective.distillation", objective.distillation),
            ("objective.feedback", objective.feedback),
            ("objective.change", objective.change),
        ] {
            in_range(field, weight, 0.0, 1e6)?;
        }
        if objective.distillation + objective.feedback <= 0.0 {
            let found = &objective.distillation;
            return Err(TrainingError::setting("objective", "distillation or feedback above 0", found));
        }
        in_range("objective.logit_scale", objective.logit_scale, 0.0, 100f64.ln())?;
        in_range("objective.min_gain", objective.min_gain, -1e6, 1e6)?;
        if training.epochs == 0 {
            return Err(TrainingError::setting("training.epochs", "at least 1", &training.epochs));
        }
        if training.batch_size < 2 {
            return Err(TrainingError::setting("training.batch_size", "at least 2", &training.batch_size));
        }
        in_range("training.learning_rate", training.learning_rate, 0.0, 1.0)?;
        in_range("training.warmup", training.warmup, 0.0, 1.0)
    }
}
