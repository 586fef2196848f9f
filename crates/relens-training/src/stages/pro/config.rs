//! Settings of preference ranking optimization.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::candidates::CandidateConfig;
use crate::reward::RewardConfig;
use crate::stages::rewriter::config::in_range;
use crate::stages::rewriter::plan::{plan, queries_at_hand};
use crate::stages::rewriter::{Plan, PlanShape, PolicySettings, RewriterConfig, RewritingMethod, RunSummary};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Settings of one run.
pub type ProConfig = RewriterConfig<ProMethod>;

/// The method's own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProMethod {
    /// The rewriter that learns.
    pub policy: PolicySettings,
    /// Queries with candidate rewrites.
    pub candidates: CandidateConfig,
    /// What candidates without a reward are ranked by.
    #[serde(default)]
    pub reward: RewardConfig,
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

impl RewritingMethod for ProMethod {
    const NAME: &'static str = "pro";
    /// both papers.
    const LEARNING_RATE: f64 = 5e-7;
    /// both papers.
    const EPOCHS: f64 = 5.0;
    /// both papers.
    const BATCH_SIZE: usize = 16;

    fn start_from(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.policy.start_from)
    }

    fn mined(&mut self) -> Option<&mut Vec<PathBuf>> {
        Some(&mut self.candidates.mined)
    }

    fn check(&self) -> Result<()> {
        self.reward.check()?;
        in_range("sft_weight", self.sft_weight, 0.0, 100.0)?;
        in_range("reward_scale", self.reward_scale, 1e-6, 100.0)?;
        if !(2..=64).contains(&self.rank_length) {
            return Err(TrainingError::setting("rank_length", "in [2, 64]", &self.rank_length));
        }
        Ok(())
    }

    fn plan(config: &ProConfig) -> Result<Plan> {
        let shape = PlanShape {
            examples: queries_at_hand(Some(&config.method.candidates), &config.data)?,
            targets: config.method.rank_length,
            updates: 1,
            samples: false,
        };
        plan(config, &config.method.policy, shape)
    }

    fn run(config: &ProConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
        super::run(config, progress)
    }
}
