//! Settings of the two stages, read from TOML; an unknown field is an error.

use std::path::{Path, PathBuf};

use relens::enhancer::entity_finder::EntityConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::optimizer::AdamWConfig;
use crate::{Result, TrainingError};

/// Settings of stage `adapter`.
pub type AdapterTrainingConfig = DescriptionConfig<AdapterNetworkConfig>;
/// Settings of stage `selection`.
pub type SelectionTrainingConfig = DescriptionConfig<SelectionNetworkConfig>;

/// Settings of one run; `N` are those of what is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescriptionConfig<N> {
    /// The run's directory: settings, log, checkpoints, and at the end what was learned.
    pub output: PathBuf,
    /// Decides initial weights, order, captions and dropout. Default 0. The same seed gives the same bytes on the same
    /// machine.
    #[serde(default)]
    pub seed: u64,
    /// The frozen retriever: a model directory or the name of a bundled model. Default `relens-mini`.
    #[serde(default = "bundled_model")]
    pub model: String,
    /// Where embeddings are kept between runs. Default `runs/embeddings`.
    #[serde(default = "cache_directory")]
    pub cache: PathBuf,
    /// Pictures and captions.
    pub data: DescribedDataConfig,
    /// The knowledge base: a file or directory. Default: the bundled one.
    pub knowledge: Option<PathBuf>,
    /// Which entities of a caption are described, and by how many descriptions. The enhancer that uses what was learned
    /// should have the same.
    #[serde(default)]
    pub entities: EntityConfig,
    /// AdamW; weight decay pulls learned values to where all descriptions count alike.
    #[serde(default)]
    pub optimizer: AdamWConfig,
    /// Batches and epochs.
    #[serde(default)]
    pub training: DescriptionTraining,
    /// What is trained.
    #[serde(default)]
    pub network: N,
}

/// Pictures and captions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedDataConfig {
    /// The annotations, in any format that [`relens::dataset`] reads.
    pub annotations: PathBuf,
    /// Where the pictures lie.
    pub images: PathBuf,
    /// What is learned from. Default `train[:-1000]`.
    #[serde(default = "train_split")]
    pub train_split: String,
    /// What the epoch is chosen by, aside from what is learned from. Default `train[-1000:]`.
    #[serde(default = "validation_split")]
    pub validation_split: String,
}

/// Batches and epochs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DescriptionTraining {
    /// Passes over the pictures, one caption each. Default 12, at least 1.
    pub epochs: u64,
    /// Pictures that compete in a batch. Default 500, at least 2.
    pub batch_size: usize,
    /// The highest learning rate. Default 1e-3.
    pub learning_rate: f64,
    /// The share of steps in which it rises. Default 0.1, range [0, 1].
    pub warmup: f64,
    /// Chance that a component of a description's embedding is set to 0. Default 0.1, range [0, 1).
    pub dropout: f32,
    /// log(1/τ) at the beginning; it is learned. Default 3.
    pub initial_logit_scale: f64,
}

impl Default for DescriptionTraining {
    fn default() -> Self {
        Self {
            epochs: 12,
            batch_size: 500,
            learning_rate: 1e-3,
            warmup: 0.1,
            dropout: 0.1,
            initial_logit_scale: 3.0,
        }
    }
}

/// Settings of the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdapterNetworkConfig {
    /// How much of the adapted embedding is taken, the rest being the description's own. Default 0.5, range [0, 1].
    pub residual_ratio: f64,
}

impl Default for AdapterNetworkConfig {
    fn default() -> Self {
        Self { residual_ratio: 0.5 }
    }
}

/// Settings of the learned values: none beyond those of every stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionNetworkConfig {}

fn bundled_model() -> String {
    relens::embed::retriever::DEFAULT_MODEL.to_owned()
}

fn cache_directory() -> PathBuf {
    "runs/embeddings".into()
}

fn train_split() -> String {
    "train[:-1000]".to_owned()
}

fn validation_split() -> String {
    "train[-1000:]".to_owned()
}

impl<N: DeserializeOwned + Default> DescriptionConfig<N> {
    /// Reads a TOML file. Relative paths in it are taken from the working directory.
    ///
    /// # Errors
    /// The file cannot be read; it is not TOML, or has an unknown or missing field; a setting is outside its range.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(path)?;
        let config: Self = toml::from_str(&text).map_err(|error| TrainingError::ConfigFile {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        config.check()?;
        Ok(config)
    }
}

impl<N> DescriptionConfig<N> {
    /// Checks every range that all stages share.
    ///
    /// # Errors
    /// [`TrainingError::Setting`] naming the field.
    pub fn check(&self) -> Result<()> {
        let DescriptionTraining { epochs, batch_size, warmup, dropout, initial_logit_scale, .. } =
            self.training;
        if epochs == 0 {
            return Err(TrainingError::setting("training.epochs", "at least 1", &epochs));
        }
        if batch_size < 2 {
            return Err(TrainingError::setting("training.batch_size", "at least 2", &batch_size));
        }
        in_range("training.warmup", warmup, 0.0, 1.0)?;
        in_range("training.dropout", f64::from(dropout), 0.0, 0.99)?;
        let largest = crate::objectives::contrastive::MAX_LOGIT_SCALE;
        in_range("training.initial_logit_scale", initial_logit_scale, 0.0, largest)
    }
}

/// Refuses a number outside `[least, most]`, NaN included.
pub(super) fn in_range(field: &str, value: f64, least: f64, most: f64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(TrainingError::setting(field, format!("in [{least}, {most}]"), &value))
}
