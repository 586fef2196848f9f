//! Settings of the retriever stage, read from TOML; an unknown field is an error.

mod augmentation;
mod phase;

use std::path::{Path, PathBuf};

use relens_models::dual_encoder::HeadKind;
use relens_models::image_preprocessing::PreprocessConfig;
use serde::{Deserialize, Serialize};

pub use crate::run::stage::PhaseStart;
pub use augmentation::{
    AugmentationConfig, CacheConfig, FeaturePrecision, ObjectiveConfig, TeacherConfig, ViewConfig,
};
pub use phase::{EvaluationConfig, PhaseConfig, RecallMetric, TrainedPart};

use crate::optimizer::AdamWConfig;
use crate::{Result, TrainingError};

/// Settings of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrieverConfig {
    /// The run's directory: configuration, logs, checkpoints, and at the end the finished model in `model/`.
    pub output: PathBuf,
    /// Decides initial weights, order, views, captions, dropout and noise. Default 0. The same seed gives the same
    /// bytes on the same machine.
    #[serde(default)]
    pub seed: u64,
    /// Pictures and captions.
    pub data: DataConfig,
    /// The towers and heads.
    pub model: RetrieverModelConfig,
    /// Views of each picture and text whose features are cached.
    #[serde(default)]
    pub views: ViewConfig,
    /// The feature cache.
    #[serde(default)]
    pub cache: CacheConfig,
    /// What happens to cached features on their way to the heads.
    #[serde(default)]
    pub augmentation: AugmentationConfig,
    /// The loss.
    #[serde(default)]
    pub objective: ObjectiveConfig,
    /// AdamW.
    #[serde(default)]
    pub optimizer: AdamWConfig,
    /// Measuring on the validation split.
    #[serde(default)]
    pub evaluation: EvaluationConfig,
    /// The phases, in order: heads first, then more (LP-FT, Kumar et al. 2022, arXiv 2202.10054).
    #[serde(rename = "phase")]
    pub phases: Vec<PhaseConfig>,
}

/// Pictures and captions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The annotations, in any format that [`relens::dataset`] reads.
    pub annotations: PathBuf,
    /// Where the pictures lie.
    pub images: PathBuf,
    /// The split to learn from. Default `train`; several are joined by `+`.
    #[serde(default = "train_split")]
    pub train_split: String,
    /// The split to choose the checkpoint by. Default `val`.
    #[serde(default = "validation_split")]
    pub validation_split: String,
    /// More texts for training pictures: JSON Lines files of `{"imgid": 17, "text": "…"}`. Default none. Lines whose
    /// picture is not in the training split are passed over.
    #[serde(default)]
    pub extra_captions: Vec<PathBuf>,
    /// Chance that a caption drawn for a picture is one of its extra ones. Default 0.3, range [0, 1].
    #[serde(default = "extra_caption_probability")]
    pub extra_caption_probability: f64,
    /// Rewrites of training captions: JSON Lines files of `{"query": "a caption", "rewrites": ["…"]}`, or what
    /// `relens mine` writes. Default none. Lines whose query is no training caption are passed over.
    #[serde(default)]
    pub rewrites: Vec<PathBuf>,
    /// Chance that a caption is replaced by one of its rewrites, drawn anew at every step. Default 0.6, range [0, 1];
    /// 0 is the equally trained baseline. Source: EvdCLIP, MGQRe (the retriever's fine-tuning).
    #[serde(default = "rewriting_probability")]
    pub rewriting_probability: f64,
}

/// The towers and heads: either a finished model to go on with, or two pretrained towers with fresh heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrieverModelConfig {
    /// A model directory in open_clip's layout to fine-tune; the other fields are then left out. Default none.
    pub start_from: Option<PathBuf>,
    /// The image trunk's name in timm. Default `tf_efficientnet_lite0`.
    #[serde(default = "image_trunk")]
    pub image_trunk: String,
    /// The trunk's weights: safetensors with timm's names.
    pub image_weights: Option<PathBuf>,
    /// How pictures are prepared for the trunk: open_clip's `preprocess_cfg`.
    #[serde(default)]
    pub preprocess: PreprocessConfig,
    /// The text tower: a Hugging Face directory with `config.json`, `model.safetensors`, `tokenizer.json`.
    pub text_tower: Option<PathBuf>,
    /// What the exported configuration calls the text tower (its name on the hub). Default: the directory's name.
    pub text_tower_name: Option<String>,
    /// Most tokens of a text. Default 64, range [3, the tower's positions].
    #[serde(default = "context_length")]
    pub context_length: usize,
    /// Dimensions of the shared space. Default 512, range [1, 65536].
    #[serde(default = "embed_dim")]
    pub embed_dim: usize,
    /// The image head, `linear` (with bias) or `mlp`. Default `linear`: over-fits less on small data.
    #[serde(default = "linear")]
    pub image_head: HeadKind,
    /// The text projection, `linear` or `mlp`. Default `mlp`.
    #[serde(default = "mlp")]
    pub text_head: HeadKind,
    /// Bring every feature to mean 0 and deviation 1 over the training split, before the heads; folded exactly into
    /// the exported weights. Default true. Fresh heads learn several times as fast.
    #[serde(default = "yes")]
    pub standardize: bool,
    /// The temperature to start with, as log(1/τ), for fresh heads. Default log(1/0.07), range [0, log 100].
    #[serde(default = "initial_logit_scale")]
    pub initial_logit_scale: f64,
}

fn train_split() -> String {
    "train".to_owned()
}

fn validation_split() -> String {
    "val".to_owned()
}

fn extra_caption_probability() -> f64 {
    0.3
}

fn rewriting_probability() -> f64 {
    0.6
}

fn image_trunk() -> String {
    "tf_efficientnet_lite0".to_owned()
}

fn context_length() -> usize {
    64
}

fn embed_dim() -> usize {
    512
}

fn linear() -> HeadKind {
    HeadKind::Linear
}

fn mlp() -> HeadKind {
    HeadKind::Mlp
}

fn yes() -> bool {
    true
}

fn initial_logit_scale() -> f64 {
    crate::objectives::contrastive::INITIAL_LOGIT_SCALE
}

impl RetrieverConfig {
    /// Reads a TOML file. Relative paths in it are taken from the working directory.
    ///
    /// # Errors
    /// The file cannot be read; it is not TOML, or has an unknown or missing field (named, with its line); a setting
    /// is outside its range.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(path)?;
        let config: Self = toml::from_str(&text).map_err(|error| TrainingError::ConfigFile {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        config.check()?;
        Ok(config)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The field, what it may be and what it is.
    pub fn check(&self) -> Result<()> {
        in_range("data.extra_caption_probability", self.data.extra_caption_probability, 0.0, 1.0)?;
        in_range("data.rewriting_probability", self.data.rewriting_probability, 0.0, 1.0)?;
        self.model.check()?;
        self.views.check()?;
        self.augmentation.check()?;
        self.objective.check()?;
        if self.phases.is_empty() {
            return Err(TrainingError::setting("phase", "at least one [[phase]]", &"none"));
        }
        for (index, phase) in self.phases.iter().enumerate() {
            phase.check(index)?;
        }
        Ok(())
    }
}

impl RetrieverModelConfig {
    fn check(&self) -> Result<()> {
        match (&self.start_from, &self.image_weights, &self.text_tower) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            _ => {
                return Err(TrainingError::setting(
                    "model",
                    "either `start_from`, or both `image_weights` and `text_tower`",
                    &format!(
                        "start_from {:?}, image_weights {:?}, text_tower {:?}",
                        self.start_from, self.image_weights, self.text_tower
                    ),
                ));
            }
        }
        let largest = crate::objectives::contrastive::MAX_LOGIT_SCALE;
        in_range("model.initial_logit_scale", self.initial_logit_scale, 0.0, largest)?;
        in_range("model.embed_dim", self.embed_dim as f64, 1.0, 65_536.0)?;
        in_range("model.context_length", self.context_length as f64, 3.0, 32_768.0)
    }
}

/// Refuses a number outside `[least, most]`, NaN included.
pub(super) fn in_range(field: &str, value: f64, least: f64, most: f64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(TrainingError::setting(field, format!("in [{least}, {most}]"), &value))
}
