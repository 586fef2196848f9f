//! Settings that all stages of a rewriter have.

use std::path::{Path, PathBuf};

use relens::enhancer::rewriter::RewriterSettings;
use relens_models::lora::LoraConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::corpus::CorpusConfig;
use crate::optimizer::AdamWConfig;
use crate::run::trainer::TrainerConfig;
use crate::schedule::{Decay, Schedule};
use crate::{Result, TrainingError};

/// The rewriter that is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    /// The directory to start from, in Hugging Face's layout.
    pub start_from: PathBuf,
    /// Prompt, decoding and combination. Default: those of the directory.
    pub rewriter: Option<RewriterSettings>,
    /// Use the model's dropout while training. Default true.
    #[serde(default = "yes")]
    pub dropout: bool,
    /// Train a low-rank adapter (`rank`, `alpha`, `dropout`, `targets`, `rank_stabilized`) and leave the weights as they
    /// are. The exported model has it merged, and beside it lies the adapter in PEFT's files. Default: all weights
    /// are trained.
    pub lora: Option<LoraConfig>,
}

fn yes() -> bool {
    true
}

impl PolicySettings {
    /// The rewriter in `directory`, used as it says itself.
    pub(crate) fn of(directory: &Path) -> Self {
        Self { start_from: directory.to_owned(), rewriter: None, dropout: true, lora: None }
    }
}

/// The retriever whose feedback counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrieverSettings {
    /// A bundled model's name, a model directory, `hf-hub:ORGANISATION/NAME` or open_clip's MODEL/WEIGHTS. Default
    /// `relens-mini`.
    pub model: String,
    /// The retriever whose feedback is the reward, if not `model`. What a retriever was trained on it ranks too well, and
    /// every change of such a caption looks harmful to it: one that has not seen the training captions tells more of
    /// unseen queries. Checkpoints are chosen by `model` all the same. Default: `model`.
    pub judge: Option<String>,
    /// Where embeddings of pictures are kept. Default `runs/embedding-cache`.
    pub cache: PathBuf,
    /// A sentence encoder (Hugging Face layout) for fidelity penalties. Default none.
    pub sentence_encoder: Option<PathBuf>,
}

impl Default for RetrieverSettings {
    fn default() -> Self {
        Self {
            model: "relens-mini".to_owned(),
            judge: None,
            cache: PathBuf::from("runs/embedding-cache"),
            sentence_encoder: None,
        }
    }
}

/// How gradients become updates; the learning rate itself belongs to the stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizationSettings {
    /// Micro-batches of one update; the result is that of the whole batch. Default 1, range [1, batch_size].
    pub accumulate: usize,
    /// Keep what goes into each layer only, and compute its inside again on the way back (Chen et al., 2016): the same
    /// gradients in a fraction of the memory, for one more forward pass. Default false.
    pub gradient_checkpointing: bool,
    /// Updates from learning rate 0 to its peak. Default 0.
    pub warmup_steps: u64,
    /// What happens after the warm-up. Default `constant`.
    pub decay: Decay,
    /// Learning rate at the end, as a share of the peak. Default 0, range [0, 1].
    pub learning_rate_floor: f64,
    /// Largest global gradient norm; 0 for no limit. Default 1.
    pub clip_norm: f64,
    /// Decay of the moving average of the weights, which is then measured and exported. Default none.
    pub average_decay: Option<f64>,
    /// AdamW. Its default here: β₂ 0.999, ε 1e-8, no weight decay.
    pub adamw: AdamWConfig,
}

impl Default for OptimizationSettings {
    fn default() -> Self {
        Self {
            accumulate: 1,
            gradient_checkpointing: false,
            warmup_steps: 0,
            decay: Decay::Constant,
            learning_rate_floor: 0.0,
            clip_norm: 1.0,
            average_decay: None,
            adamw: AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 },
        }
    }
}

impl OptimizationSettings {
    /// Examples of a micro-batch.
    pub(crate) fn micro_batch(&self, batch_size: usize) -> usize {
        batch_size.div_ceil(self.accumulate.max(1)).max(1)
    }

    /// The trainer's settings for a peak learning rate and a number of updates.
    pub(crate) fn trainer(&self, peak: f64, updates: u64) -> TrainerConfig {
        TrainerConfig {
            adamw: self.adamw,
            clip_norm: self.clip_norm,
            average_decay: self.average_decay,
            schedule: Schedule {
                peak,
                floor: self.learning_rate_floor,
                warmup_steps: self.warmup_steps.min(updates),
                total_steps: updates,
                decay: self.decay,
            },
        }
    }
}

/// What the best checkpoint is chosen by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectionMetric {
    /// Text→image Recall@1 of the rewrites alone.
    #[default]
    RewriteRecall,
    /// Text→image Recall@1 of the mean score of query and rewrite.
    MeanScoreRecall,
    /// The loss on validation examples, lowest best; no retriever is asked.
    Loss,
}

/// Measuring on the validation split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationSettings {
    /// Steps between measurements; 0 for once an epoch. Default 0.
    pub every_steps: u64,
    /// Validation captions that are rewritten, evenly spread; 0 for all. All pictures compete in any case. Default 0.
    pub queries: usize,
    /// What the best checkpoint is chosen by. Default `rewrite_recall`.
    pub metric: SelectionMetric,
    /// Whether the weights that the stage begins with may be the best ones, so that a stage which only harms exports what
    /// it started from. Default true; false where the effect of every stage is to be measured, as in an ablation.
    pub start_may_win: bool,
    /// Stop after this many measurements without a better one; 0 never stops. Default 0.
    pub patience: u64,
    /// Stop after this many measurements in a row at which the reward is above that of the best checkpoint, and Recall@1
    /// below it by more than `hacking_tolerance`; 0 never stops. Default 3.
    pub hacking_patience: u64,
    /// See there; as a fraction. Default 0.01.
    pub hacking_tolerance: f64,
    /// Queries shown in samples.jsonl at each measurement. Default 10.
    pub samples: usize,
    /// Checkpoints kept beside the best one. Default 2.
    pub keep_checkpoints: usize,
}

impl Default for EvaluationSettings {
    fn default() -> Self {
        Self {
            every_steps: 0,
            queries: 0,
            metric: SelectionMetric::RewriteRecall,
            start_may_win: true,
            patience: 0,
            hacking_patience: 3,
            hacking_tolerance: 0.01,
            samples: 10,
            keep_checkpoints: 2,
        }
    }
}

/// The settings that the loop needs, whatever the stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StageSettings<'a> {
    pub(crate) name: &'static str,
    pub(crate) output: &'a Path,
    pub(crate) seed: u64,
    pub(crate) data: &'a CorpusConfig,
    pub(crate) policy: &'a PolicySettings,
    pub(crate) retriever: &'a RetrieverSettings,
    pub(crate) evaluation: &'a EvaluationSettings,
    pub(crate) optimization: &'a OptimizationSettings,
    pub(crate) learning_rate: f64,
    pub(crate) batch_size: usize,
}

impl StageSettings<'_> {
    /// Checks the ranges that are the same in every stage.
    pub(crate) fn check(&self) -> Result<()> {
        if self.batch_size == 0 {
            return Err(TrainingError::setting("batch_size", "at least 1", &self.batch_size));
        }
        let accumulate = self.optimization.accumulate;
        if !(1..=self.batch_size).contains(&accumulate) {
            let expected = format!("in [1, {}], the batch size", self.batch_size);
            return Err(TrainingError::setting("optimization.accumulate", expected, &accumulate));
        }
        if !(0.0..=1.0).contains(&self.evaluation.hacking_tolerance) {
            let found = &self.evaluation.hacking_tolerance;
            return Err(TrainingError::setting("evaluation.hacking_tolerance", "in [0, 1]", found));
        }
        self.optimization.trainer(self.learning_rate, u64::MAX).schedule.validated()?;
        Ok(())
    }
}

/// Reads a stage's TOML. Relative paths in it are taken from the working directory.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    toml::from_str(&fs_err::read_to_string(path)?)
        .map_err(|error| TrainingError::ConfigFile { path: path.to_owned(), reason: error.to_string() })
}

/// Refuses a number outside `[least, most]`, NaN included.
pub(crate) fn in_range(field: &str, value: f64, least: f64, most: f64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(TrainingError::setting(field, format!("in [{least}, {most}]"), &value))
}
