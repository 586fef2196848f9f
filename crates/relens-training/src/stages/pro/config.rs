//! Settings of preference ranking optimization.

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
pub struct ProConfig {
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
    /// Most candidates of a query, spread from best to worst. Default 5 (both papers), range [2, 64].
    #[serde(default = "rank_length")]
    pub rank_length: usize,
    /// Whether the query itself is a candidate, with the reward of changing nothing. Default false, the papers'.
    #[serde(default)]
    pub include_query: bool,
    /// Deviation of the standardised rewards. Default 1, range (0, 100].
    #[serde(default = "unit")]
    pub reward_scale: f64,
    /// β, the weight of the cross-entropy on the best candidate. Default 0.2 (EvdCLIP), range [0, 100].
    #[serde(default = "sft_weight")]
    pub sft_weight: f64,
    /// Peak learning rate. Default 5e-7 (both papers).
    #[serde(default = "learning_rate")]
    pub learning_rate: f64,
    /// Passes over the queries. Default 5 (both papers).
    #[serde(default = "epochs")]
    pub epochs: f64,
    /// Stop after this many steps; 0 for no limit. Default 0.
    #[serde(default)]
    pub max_steps: u64,
    /// Queries of an update. Default 16 (both papers).
    #[serde(default = "batch_size")]
    pub batch_size: usize,
    /// How gradients become updates.
    #[serde(default)]
    pub optimization: OptimizationSettings,
    /// Measuring on the validation split.
    #[serde(default)]
    pub evaluation: EvaluationSettings,
}

fn rank_length() -> usize {
    5
}

fn unit() -> f64 {
    1.0
}

fn sft_weight() -> f64 {
    0.2
}

fn learning_rate() -> f64 {
    5e-7
}

fn epochs() -> f64 {
    5.0
}

fn batch_size() -> usize {
    16
}

impl RewriterStage for ProConfig {
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
            targets: self.rank_length,
            updates: 1,
            samples: false,
        };
        plan(&self.stage(), shape)
    }

    fn run(&self, progress: &mut dyn Progress) -> Result<RunSummary> {
        super::run(self, progress)
    }
}

impl ProConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`TrainingError::Setting`].
    pub fn check(&self) -> Result<()> {
        self.reward.check()?;
        in_range("epochs", self.epochs, 0.0, 1e6)?;
        in_range("sft_weight", self.sft_weight, 0.0, 100.0)?;
        in_range("reward_scale", self.reward_scale, 1e-6, 100.0)?;
        if !(2..=64).contains(&self.rank_length) {
            return Err(TrainingError::setting("rank_length", "in [2, 64]", &self.rank_length));
        }
        self.stage().check()
    }

    /// What the loop needs of the settings.
    pub(super) fn stage(&self) -> StageSettings<'_> {
        StageSettings {
            name: "pro",
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
