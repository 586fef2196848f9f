//! Settings that all stages of a rewriter have.

use std::path::{Path, PathBuf};

use relens::enhancer::rewriter::RewriterModelConfig;
use relens_models::lora::LoraConfig;
use relens_models::regular_file::{self, FileKind};
use serde::{Deserialize, Serialize};

use super::examples::EpochBatches;
use super::plan::Plan;
use crate::config_file::ConfigTable;
use crate::data::candidates::CandidateConfig;
use crate::data::corpus::CorpusConfig;
use crate::optimizer::AdamWConfig;
use crate::run::finished_model::RunSummary;
use crate::run::trainer::TrainerConfig;
use crate::run::training::{LoopConfig, StartingWeights};
use crate::schedule::{Decay, Schedule};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// The rewriter that is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// The directory to start from, in Hugging Face's layout. Default none, where a fresh rewriter begins.
    #[serde(default)]
    pub start_from: PathBuf,
    /// Prompt, decoding and combination. Default: those of the directory.
    pub rewriter: Option<RewriterModelConfig>,
    /// Use the model's dropout while training. Default true.
    #[serde(default = "yes")]
    pub dropout: bool,
    /// Train a low-rank adapter (`rank`, `alpha`, `dropout`, `targets`, `rank_stabilized`) and leave the weights as they
    /// are. The exported model has it merged, and beside it lies the adapter in PEFT's files. Default: all weights
    /// are trained.
    pub lora: Option<LoraConfig>,
    /// Leave the tensors as they are whose names begin with one of these: `encoder.` for a trunk that knows words
    /// already. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<String>,
}

fn yes() -> bool {
    true
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self::of(Path::new(""))
    }
}

impl PolicyConfig {
    /// The rewriter in `directory`, used as it says itself.
    pub(crate) fn of(directory: &Path) -> Self {
        Self {
            start_from: directory.to_owned(),
            rewriter: None,
            dropout: true,
            lora: None,
            frozen: Vec::new(),
        }
    }
}

/// The retriever whose feedback counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedbackConfig {
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

impl Default for FeedbackConfig {
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
pub struct OptimizationConfig {
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

impl Default for OptimizationConfig {
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

impl OptimizationConfig {
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
pub enum RewriterMetric {
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
pub struct RewriterEvaluation {
    /// Steps between measurements; 0 for once an epoch. Default 0.
    pub every_steps: u64,
    /// Validation captions that are rewritten, evenly spread; 0 for all. All pictures compete in any case. Default 0.
    pub queries: usize,
    /// What the best checkpoint is chosen by. Default `rewrite_recall`.
    pub metric: RewriterMetric,
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

impl RewriterEvaluation {
    /// When a run is measured, and when it ends early.
    pub(crate) fn training_loop(&self) -> LoopConfig {
        LoopConfig {
            // What the policy is worth before it learns is what every later number is compared with.
            start: if self.start_may_win { StartingWeights::MayWin } else { StartingWeights::Measured },
            measure_every: self.every_steps,
            save_every: 0,
            saves_when_cancelled: false,
            patience: self.patience,
        }
    }
}

impl Default for RewriterEvaluation {
    fn default() -> Self {
        Self {
            every_steps: 0,
            queries: 0,
            metric: RewriterMetric::RewriteRecall,
            start_may_win: true,
            patience: 0,
            hacking_patience: 3,
            hacking_tolerance: 0.01,
            samples: 10,
            keep_checkpoints: 2,
        }
    }
}

/// What a method of training a rewriter adds to the settings that all of them have, and how it trains.
pub trait RewritingMethod: Clone + Serialize {
    /// What `relens train` calls it.
    const NAME: &'static str;
    /// The default of [`RewriterRunConfig::learning_rate`].
    const LEARNING_RATE: f64;
    /// The default of [`RewriterRunConfig::epochs`].
    const EPOCHS: f64;
    /// The default of [`RewriterRunConfig::batch_size`].
    const BATCH_SIZE: usize;

    /// The default of [`RewriterRunConfig::evaluation`].
    fn evaluation() -> RewriterEvaluation {
        RewriterEvaluation::default()
    }

    /// Takes the method's own settings out of the file.
    ///
    /// # Errors
    /// [`TrainingError::ConfigFile`] naming the line.
    fn read(fields: &mut ConfigTable<'_>) -> Result<Self>;

    /// The rewriter that training starts from; none where it is made from scratch.
    fn policy(&mut self) -> Option<&mut PolicyConfig> {
        None
    }

    /// Where candidate rewrites come from; none where the method reads none.
    fn candidates(&mut self) -> Option<&mut CandidateConfig> {
        None
    }

    /// Checks the ranges of the method's own settings.
    ///
    /// # Errors
    /// [`TrainingError::Setting`] naming the field.
    fn check(&self) -> Result<()>;

    /// What a run will need; nothing is trained.
    ///
    /// # Errors
    /// A configuration or shard of the model that is missing or malformed; a broken line of the data.
    fn plan(config: &RewriterConfig<Self>) -> Result<Plan>;

    /// Trains, or goes on with a run that was interrupted, and exports the best weights. A finished run is left as it
    /// is and its summary returned.
    ///
    /// # Errors
    /// [`TrainingError::RunChanged`], [`TrainingError::RunLocked`] and [`TrainingError::OtherVersion`] for the run
    /// directory; data, pictures or weights that cannot be read; a loss, gradient or reward that is not finite, with its
    /// step; a full disk; [`TrainingError::Interrupted`] where `progress` asked for it. The last checkpoint stays in
    /// every case.
    fn run(config: &RewriterConfig<Self>, progress: &mut dyn Progress) -> Result<RunSummary>;
}

/// Settings of one run: what all methods have, and the method's own beside them in the same file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RewriterConfig<M> {
    /// What all methods have.
    #[serde(flatten)]
    pub run: RewriterRunConfig,
    /// The method's own settings.
    #[serde(flatten)]
    pub method: M,
}

/// What all methods of training a rewriter can be set to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewriterRunConfig {
    /// The run's directory: configuration, logs, checkpoints, and at the end the rewriter in `model/`.
    pub output: PathBuf,
    /// Decides whatever is drawn: initial weights, order, noise, dropout, rollouts. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// Pictures and captions.
    pub data: CorpusConfig,
    /// The retriever.
    #[serde(default)]
    pub retriever: FeedbackConfig,
    /// Peak learning rate. Default: the method's.
    pub learning_rate: f64,
    /// Passes over the examples. Default: the method's.
    pub epochs: f64,
    /// Stop after this many steps; 0 for no limit. Default 0.
    #[serde(default)]
    pub max_steps: u64,
    /// Examples, queries or rollouts of a step. Default: the method's.
    pub batch_size: usize,
    /// How gradients become updates.
    #[serde(default)]
    pub optimization: OptimizationConfig,
    /// Measuring on the validation split. Default: the method's.
    pub evaluation: RewriterEvaluation,
}

/// What a method says where the file is silent.
#[derive(Serialize)]
struct MethodDefaults {
    learning_rate: f64,
    epochs: f64,
    batch_size: usize,
    evaluation: RewriterEvaluation,
}

impl<M: RewritingMethod> RewriterConfig<M> {
    /// Reads a TOML file. Relative paths in it are taken from the working directory.
    ///
    /// # Errors
    /// The file cannot be read, has an unknown or missing field, or a setting outside its range.
    pub fn read(path: &Path) -> Result<Self> {
        let text = regular_file::read_to_string(path, FileKind::Settings)?;
        let defaults = toml::to_string(&MethodDefaults {
            learning_rate: M::LEARNING_RATE,
            epochs: M::EPOCHS,
            batch_size: M::BATCH_SIZE,
            evaluation: M::evaluation(),
        });
        let malformed = |reason: String| TrainingError::ConfigFile { path: path.to_owned(), reason };
        let defaults = defaults.map_err(|error| malformed(error.to_string()))?;
        let mut fields = ConfigTable::parse(path, &text)?;
        fields.fill_in(&defaults)?;
        let config = Self { run: fields.take()?, method: M::read(&mut fields)? };
        fields.finish()?;
        config.check()?;
        Ok(config)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`TrainingError::Setting`] naming the field.
    pub fn check(&self) -> Result<()> {
        self.method.check()?;
        let run = &self.run;
        in_range("epochs", run.epochs, 0.0, 1e6)?;
        if run.batch_size == 0 {
            return Err(TrainingError::setting("batch_size", "at least 1", &run.batch_size));
        }
        let accumulate = run.optimization.accumulate;
        if !(1..=run.batch_size).contains(&accumulate) {
            let expected = format!("in [1, {}], the batch size", run.batch_size);
            return Err(TrainingError::setting("optimization.accumulate", expected, &accumulate));
        }
        in_range("evaluation.hacking_tolerance", run.evaluation.hacking_tolerance, 0.0, 1.0)?;
        run.optimization.trainer(run.learning_rate, u64::MAX).schedule.validated()?;
        Ok(())
    }

    /// What the run will need; nothing is trained.
    ///
    /// # Errors
    /// Those of [`RewritingMethod::plan`].
    pub fn plan(&self) -> Result<Plan> {
        M::plan(self)
    }

    /// Trains; see [`RewritingMethod::run`].
    ///
    /// # Errors
    /// Those of [`RewritingMethod::run`].
    pub fn run(&self, progress: &mut dyn Progress) -> Result<RunSummary> {
        M::run(self, progress)
    }
}

impl RewriterRunConfig {
    /// The order in which the run sees so many examples.
    pub(crate) fn batches(&self, examples: usize) -> EpochBatches {
        EpochBatches::new(examples, self.batch_size, self.seed).lasting(self.epochs, self.max_steps)
    }

    /// Examples of a micro-batch.
    pub(crate) fn micro_batch(&self) -> usize {
        self.optimization.micro_batch(self.batch_size)
    }
}

/// Refuses a number outside `[least, most]`, NaN included.
pub(crate) fn in_range(field: &str, value: f64, least: f64, most: f64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(TrainingError::setting(field, format!("in [{least}, {most}]"), &value))
}
