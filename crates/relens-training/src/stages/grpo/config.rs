//! Settings of group relative policy optimization.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::candidates::CandidateConfig;
use crate::reward::RewardConfig;
use crate::stages::rewriter::config::in_range;
use crate::stages::rewriter::plan::{plan, queries_at_hand};
use crate::stages::rewriter::{
    Plan, PlanShape, Policy, PolicyConfig, RewriterConfig, RewritingMethod, RunSummary, Sampling,
};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Settings of one run.
pub type GrpoConfig = RewriterConfig<GrpoMethod>;

/// The method's own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrpoMethod {
    /// The rewriter that learns; as it is at the start, it is the reference, too.
    pub policy: PolicyConfig,
    /// Whose queries are rewritten. Default: all training captions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<CandidateConfig>,
    /// What a rewrite is worth.
    #[serde(default)]
    pub reward: RewardConfig,
    /// Divides the logits of rollouts. Default 1, range (0, 10].
    #[serde(default = "unit")]
    pub temperature: f64,
    /// Rollouts come from the likeliest tokens with this probability together. Default 1, range (0, 1].
    #[serde(default = "unit")]
    pub top_p: f64,
    /// What a rollout costs that does not end by itself. Default 1.
    #[serde(default = "unit")]
    pub missing_end_penalty: f64,
    /// β, the weight of the KL to the reference. Default 0.04 (Shao et al. 2024).
    #[serde(default = "kl_coefficient")]
    pub kl_coefficient: f64,
    /// Stop when the KL of a step is above this, in nats a token; 0 never stops. Default 0.
    #[serde(default)]
    pub kl_limit: f64,
    /// ε of the policy's clip. Default 0.2 (Schulman et al. 2017).
    #[serde(default = "clip_range")]
    pub clip_range: f64,
    /// Rewrites of each query. Default 8 (TRL; 64 in the paper), range [2, 1024].
    #[serde(default = "group")]
    pub group: usize,
    /// Whether advantages are divided by the group's deviation. Default true; false is Dr. GRPO (Liu et al. 2025).
    #[serde(default = "yes")]
    pub scale_advantages: bool,
    /// Updates on each batch of rollouts. Default 1 (Shao et al. 2024), at least 1.
    #[serde(default = "one")]
    pub updates: usize,
}

macro_rules! defaults {
    ($($name:ident: $type:ty = $value:expr;)*) => {$(
        fn $name() -> $type {
            $value
        }
    )*};
}

defaults! {
    unit: f64 = 1.0;
    one: usize = 1;
    yes: bool = true;
    group: usize = 8;
    kl_coefficient: f64 = 0.04;
    clip_range: f64 = 0.2;
}

impl RewritingMethod for GrpoMethod {
    const NAME: &'static str = "grpo";
    /// Shao et al. 2024.
    const LEARNING_RATE: f64 = 1e-6;
    const EPOCHS: f64 = 1.0;
    const BATCH_SIZE: usize = 32;

    fn start_from(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.policy.start_from)
    }

    fn mined(&mut self) -> Option<&mut Vec<PathBuf>> {
        self.candidates.as_mut().map(|candidates| &mut candidates.mined)
    }

    fn check(&self) -> Result<()> {
        self.reward.check()?;
        for (field, value, least, most) in [
            ("temperature", self.temperature, 1e-3, 10.0),
            ("top_p", self.top_p, 1e-6, 1.0),
            ("missing_end_penalty", self.missing_end_penalty, 0.0, 1e3),
            ("kl_coefficient", self.kl_coefficient, 0.0, 1e3),
            ("kl_limit", self.kl_limit, 0.0, 1e6),
            ("clip_range", self.clip_range, 1e-6, 1.0),
        ] {
            in_range(field, value, least, most)?;
        }
        if !(2..=1024).contains(&self.group) {
            return Err(TrainingError::setting("group", "in [2, 1024]", &self.group));
        }
        if !(1..=1024).contains(&self.updates) {
            return Err(TrainingError::setting("updates", "in [1, 1024]", &self.updates));
        }
        Ok(())
    }

    fn plan(config: &GrpoConfig) -> Result<Plan> {
        let shape = PlanShape {
            examples: queries_at_hand(config.method.candidates.as_ref(), &config.data)?,
            targets: config.method.group,
            updates: config.method.updates as u64,
            samples: true,
        };
        plan(config, &config.method.policy, shape)
    }

    fn run(config: &GrpoConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
        super::run(config, progress)
    }
}

impl GrpoMethod {
    pub(super) fn sampling(&self, seed: u64, step: u64, policy: &Policy) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            most_tokens: policy.most_target_tokens(policy.settings().prompt.max_tokens),
            seed,
            step,
        }
    }
}
