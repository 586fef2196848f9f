//! Fine-tuning a whole retriever together with a frozen rewriter, as both papers do: any architecture that relens opens,
//! CLIP and its kin included, from its own weights.
//!
//! Symmetric InfoNCE over pairs of a picture and a caption; each caption is replaced by one of its rewrites with a
//! probability (EvdCLIP, "Retriever Fine-tuning"; MGQRe, section 4.1). The same run with probability 0 is the equally
//! trained baseline. Batches are larger than memory by the gradient cache. A frozen image side is embedded once.
//!
//! [`retriever`](super::retriever) is the stage for heads on frozen towers, which trains in minutes; this one moves the
//! towers themselves.
//!
//! ```no_run
//! use relens::embed::retriever::Retriever;
//! use relens::progress::Silent;
//! use relens_training::stages::fine_tune::{self, FineTuneConfig};
//!
//! let config = FineTuneConfig::read("configs/fine-tune.toml".as_ref())?;
//! let retriever = Retriever::load(&config.model.start_from)?;
//! let summary = fine_tune::run(&config, &retriever, &mut Silent)?;
//! println!("{} has {:?}", summary.model.display(), summary.metrics);
//! # Ok::<(), relens_training::TrainingError>(())
//! ```

mod network;
mod plan;
mod run;
mod step;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config_file::read_toml;
use crate::optimizer::AdamWConfig;
use crate::schedule::Decay;
use crate::stages::retriever::config::{DataConfig, EvaluationConfig};
use crate::stages::rewriter::config::in_range;
use crate::{Result, TrainingError};

pub use plan::plan;
pub use run::run;

pub use crate::run::finished_model::{MODEL_DIRECTORY, RunSummary};

/// Settings of one run. Defaults are EvdCLIP's ("Implementation Details") where it has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FineTuneConfig {
    /// The run's directory: configuration, logs, checkpoints, and at the end the finished model in `model/`.
    pub output: PathBuf,
    /// Decides order, captions and rewrites. Default 0. The same seed gives the same bytes on the same machine.
    #[serde(default)]
    pub seed: u64,
    /// Pictures, captions and rewrites.
    pub data: DataConfig,
    /// What is tuned.
    pub model: FineTunedModel,
    /// Batches, steps and the learning rate.
    #[serde(default)]
    pub optimization: FineTuneOptimization,
    /// AdamW. Default weight decay 1e-3 (EvdCLIP), the rest as CLIP's.
    #[serde(default = "optimizer")]
    pub optimizer: AdamWConfig,
    /// Measuring on the validation split.
    #[serde(default)]
    pub evaluation: EvaluationConfig,
    /// Where embeddings of pictures are kept between runs, if the image side is frozen. Default `runs/embedding-cache`.
    #[serde(default = "cache")]
    pub cache: PathBuf,
}

/// What is tuned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FineTunedModel {
    /// The retriever: a bundled model's name, a model directory, `hf-hub:ORGANISATION/NAME` or open_clip's
    /// MODEL/WEIGHTS.
    pub start_from: String,
    /// The parts that are trained. Default all.
    #[serde(default = "every_part")]
    pub train: Vec<FineTunedPart>,
}

/// A part of a dual encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FineTunedPart {
    /// The image tower. Statistics of batch normalisation stay as they are.
    ImageTower,
    /// What projects its features into the shared space.
    ImageProjection,
    /// The text tower.
    TextTower,
    /// What projects its features into the shared space.
    TextProjection,
    /// `logit_scale`
    LogitScale,
}

/// Batches, steps and the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FineTuneOptimization {
    /// Passes over the captions. Default 20 (EvdCLIP), at least 1.
    pub epochs: u64,
    /// End after so many steps; 0 for all of the epochs'. Default 0.
    pub max_steps: u64,
    /// Pairs of an update. Default 256 (EvdCLIP), at least 2.
    pub batch_size: usize,
    /// Pictures that go through the image tower at once, by the gradient cache; 0 for the whole batch. Default 16.
    pub image_chunk: usize,
    /// Texts that go through the text tower at once, by the gradient cache; 0 for the whole batch. Default 64.
    pub text_chunk: usize,
    /// Learning rate after the warm-up. Default 1e-6 (EvdCLIP), range [0, 1].
    pub learning_rate: f64,
    /// Factor on the rate of the projections and the temperature. Default 1, range [0, 1e6]. Projections that were
    /// trained on little data bear more than towers do.
    pub projection_rate: f64,
    /// Steps in which the rate rises. Default 2,000 (EvdCLIP); a run of fewer than twice as many rises for half of it.
    pub warmup_steps: u64,
    /// What the rate does then. Default `cosine` (EvdCLIP).
    pub decay: Decay,
    /// Largest norm of the gradient; 0 for no limit. Default 1.
    pub clip_norm: f64,
    /// Save a checkpoint every so many steps besides those that are measured; 0 for none. Default 100.
    pub checkpoint_steps: u64,
}

impl Default for FineTuneOptimization {
    fn default() -> Self {
        Self {
            epochs: 20,
            max_steps: 0,
            batch_size: 256,
            image_chunk: 16,
            text_chunk: 64,
            learning_rate: 1e-6,
            projection_rate: 1.0,
            warmup_steps: 2000,
            decay: Decay::Cosine,
            clip_norm: 1.0,
            checkpoint_steps: 100,
        }
    }
}

fn optimizer() -> AdamWConfig {
    AdamWConfig { weight_decay: 1e-3, ..AdamWConfig::default() }
}

fn cache() -> PathBuf {
    PathBuf::from("runs/embedding-cache")
}

fn every_part() -> Vec<FineTunedPart> {
    use FineTunedPart::{ImageProjection, ImageTower, LogitScale, TextProjection, TextTower};
    vec![ImageTower, ImageProjection, TextTower, TextProjection, LogitScale]
}

impl FineTunedModel {
    /// Whether a part is trained.
    pub fn trains(&self, part: FineTunedPart) -> bool {
        self.train.contains(&part)
    }

    /// Whether embeddings of pictures change.
    pub fn trains_images(&self) -> bool {
        self.trains(FineTunedPart::ImageTower) || self.trains(FineTunedPart::ImageProjection)
    }

    /// Whether embeddings of texts change.
    pub fn trains_texts(&self) -> bool {
        self.trains(FineTunedPart::TextTower) || self.trains(FineTunedPart::TextProjection)
    }
}

impl FineTuneConfig {
    /// Reads a TOML file. Relative paths in it are taken from the working directory.
    ///
    /// # Errors
    /// The file cannot be read; it is not TOML, or has an unknown or missing field (named, with its line); a setting
    /// is outside its range.
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
        in_range("data.extra_caption_probability", self.data.extra_caption_probability, 0.0, 1.0)?;
        in_range("data.rewriting_probability", self.data.rewriting_probability, 0.0, 1.0)?;
        if !self.model.trains_images() && !self.model.trains_texts() {
            let expected = "a tower or a projection among what is trained";
            return Err(TrainingError::setting("model.train", expected, &format!("{:?}", self.model.train)));
        }
        let optimization = &self.optimization;
        if optimization.epochs == 0 {
            return Err(TrainingError::setting("optimization.epochs", "at least 1", &0));
        }
        if optimization.batch_size < 2 {
            let found = &optimization.batch_size;
            return Err(TrainingError::setting("optimization.batch_size", "at least 2", found));
        }
        in_range("optimization.learning_rate", optimization.learning_rate, 0.0, 1.0)?;
        in_range("optimization.projection_rate", optimization.projection_rate, 0.0, 1e6)?;
        in_range("optimization.clip_norm", optimization.clip_norm, 0.0, f64::MAX)?;
        if self.evaluation.keep_checkpoints == 0 {
            return Err(TrainingError::setting("evaluation.keep_checkpoints", "at least 1", &0));
        }
        Ok(())
    }
}
