//! Settings of supervised fine-tuning.

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
pub type SftConfig = RewriterConfig<SftMethod>;

/// The method's own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SftMethod {
    /// The rewriter that learns.
    pub policy: PolicySettings,
    /// Queries with candidate rewrites.
    pub candidates: CandidateConfig,
    /// What candidates without a reward are ranked by.
    #[serde(default)]
    pub reward: RewardConfig,
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
}

fn one() -> usize {
    1
}

impl RewritingMethod for SftMethod {
    const NAME: &'static str = "sft";
    /// EvdCLIP, T5-large; MGQRe has 1e-5 for Llama2-7B.
    const LEARNING_RATE: f64 = 3e-5;
    /// EvdCLIP; MGQRe has 10.
    const EPOCHS: f64 = 20.0;
    /// EvdCLIP; MGQRe has 32.
    const BATCH_SIZE: usize = 8;

    fn start_from(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.policy.start_from)
    }

    fn mined(&mut self) -> Option<&mut Vec<PathBuf>> {
        Some(&mut self.candidates.mined)
    }

    fn check(&self) -> Result<()> {
        self.reward.check()?;
        in_range("keep_share", self.keep_share, 0.0, 1.0)?;
        in_range("label_smoothing", self.label_smoothing, 0.0, 0.99)?;
        if !self.min_gain.is_finite() {
            return Err(TrainingError::setting("min_gain", "a finite number", &self.min_gain));
        }
        if self.targets_per_query == 0 {
            return Err(TrainingError::setting("targets_per_query", "at least 1", &self.targets_per_query));
        }
        Ok(())
    }

    fn plan(config: &SftConfig) -> Result<Plan> {
        let shape = PlanShape {
            examples: queries_at_hand(Some(&config.method.candidates), &config.data)?,
            targets: config.method.targets_per_query,
            updates: 1,
            samples: false,
        };
        plan(config, &config.method.policy, shape)
    }

    fn run(config: &SftConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
        super::run(config, progress)
    }
}
