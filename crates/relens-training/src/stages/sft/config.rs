//! Settings of supervised fine-tuning.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::candidates::CandidateConfig;
use crate::data::corpus::CorpusConfig;
use crate::reward::RewardConfig;
use crate::stages::rewriter::config::{in_range, read_toml};
use crate::stages::rewriter::plan::{plan, queries_at_hand};
use crate::stages::rewriter::{
    EvaluationSettings, OptimizationSettings, Plan, PlanShape, PolicySettings, RetrieverSettings,
    RewriterStage, RunSummary, StagePaths, StageSettings,
};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Settings of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftConfig {
    /// The run's directory: configuration, logs, checkpoints, and at the end the rewriter in `model/`.
    pub output: PathBuf,
    /// Decides order and dropout. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// Pictures and captions.
    pub data: CorpusConfig,
    /// The rewriter that learns.
    pub policy: PolicySettings,
    /// Queries with candidate rewrites.
    pub candidates: CandidateConfig,
    /// What candidates without a reward are ranked by.
    #[serde(default)]
    pub reward: RewardConfig,
    /// The retriever.
    #[serde(default)]
    pub retriever: RetrieverSettings,
    /// Least reward of a rewrite that is learned. Default 0: it beats the query ("positive feedback", EvdCLIP).
    #[serde(default)]
    pub min_gain: f64,
    /// Rewrites of a query that are learned, best first. Default 1, the papers'; at least 1.
    #[serde(default = "one")]
    pub targets_per_query: usize,
    /// Share of the queries without a better rewrite that teach to leave the query as it is. Default 0, range [0, 1].
    #[serde(default)]
    pub keep_share: f64,
    /// ε of label smoothing. Default 0, range [0, 1).
    #[serde(default)]
    pub label_smoothing: f64,
    /// Peak learning rate. Default 3e-5 (EvdCLIP, T5-large; MGQRe has 1e-5 for Llama2-7B).
    #[serde(default = "learning_rate")]
    pub learning_rate: f64,
    /// Passes over the examples. Default 20 (EvdCLIP; MGQRe has 10).
    #[serde(default = "epochs")]
    pub epochs: f64,
    /// Stop after this many steps; 0 for no limit. Default 0.
    #[serde(default)]
    pub max_steps: u64,
    /// Examples of an update. Default 8 (EvdCLIP; MGQRe has 32).
    #[serde(default = "batch_size")]
    pub batch_size: usize,
    /// How gradients become updates.
    #[serde(default)]
    pub optimization: OptimizationSettings,
    /// Measuring on the validation split.
    #[serde(default)]
    pub evaluation: EvaluationSettings,
}

fn one() -> usize {
    1
}

fn learning_rate() -> f64 {
    3e-5
}

fn epochs() -> f64 {
    20.0
}

fn batch_size() -> usize {
    8
}

impl RewriterStage for SftConfig {
    fn read(path: &Path) -> Result<Self> {
        let config: Self = read_toml(path)?;
        config.check()?;
        Ok(config)
    }

    fn paths(&mut self) -> StagePaths<'_> {
        StagePaths {
            output: &mut self.output,
            annotations: &mut self.data.annotations,
            images: &mut self.data.images,
            retriever: &mut self.retriever.model,
            start_from: Some(&mut self.policy.start_from),
            mined: Some(&mut self.candidates.mined),
        }
    }

    fn plan(&self) -> Result<Plan> {
        let examples = queries_at_hand(Some(&self.candidates), &self.data)?;
        let shape = PlanShape {
            examples,
            epochs: self.epochs,
            max_steps: self.max_steps,
            targets: self.targets_per_query,
            updates: 1,
            samples: false,
        };
        plan(&self.stage(), shape)
    }

    fn run(&self, progress: &mut dyn Progress) -> Result<RunSummary> {
        super::run(self, progress)
    }
}

impl SftConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`TrainingError::Setting`].
    pub fn check(&self) -> Result<()> {
        self.reward.check()?;
        in_range("epochs", self.epochs, 0.0, 1e6)?;
        in_range("keep_share", self.keep_share, 0.0, 1.0)?;
        in_range("label_smoothing", self.label_smoothing, 0.0, 0.99)?;
        if !self.min_gain.is_finite() {
            return Err(TrainingError::setting("min_gain", "a finite number", &self.min_gain));
        }
        if self.targets_per_query == 0 {
            return Err(TrainingError::setting("targets_per_query", "at least 1", &self.targets_per_query));
        }
        self.stage().check()
    }

    /// What the loop needs of the settings.
    pub(super) fn stage(&self) -> StageSettings<'_> {
        StageSettings {
            name: "sft",
            output: &self.output,
            seed: self.seed,
            data: &self.data,
            policy: &self.policy,
            retriever: &self.retriever,
            evaluation: &self.evaluation,
            optimization: &self.optimization,
            learning_rate: self.learning_rate,
            batch_size: self.batch_size,
        }
    }
}
