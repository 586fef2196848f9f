//! Settings of proximal policy optimization.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::candidates::CandidateConfig;
use crate::objectives::AdvantageConfig;
use crate::reward::RewardConfig;
use crate::stages::rewriter::config::in_range;
use crate::stages::rewriter::plan::{plan, queries_at_hand};
use crate::stages::rewriter::{
    Plan, PlanShape, Policy, PolicyConfig, RewriterConfig, RewritingMethod, RunSummary, Sampling,
};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Settings of one run.
pub type PpoConfig = RewriterConfig<PpoMethod>;

/// The method's own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PpoMethod {
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
    /// β at the start: the penalty on the KL to the reference. Default 0.1 (MGQRe).
    #[serde(default = "kl_coefficient")]
    pub kl_coefficient: f64,
    /// The KL that β is steered towards, in nats a rewrite. Default 6 (Ziegler et al. 2019; TRL), above 0.
    #[serde(default = "kl_target")]
    pub kl_target: f64,
    /// How fast β follows. Default 0.1 (Ziegler et al. 2019); 0 holds it.
    #[serde(default = "kl_gain")]
    pub kl_gain: f64,
    /// Stop when the KL of a step is above this, in nats a rewrite; 0 never stops. Default 0.
    #[serde(default)]
    pub kl_limit: f64,
    /// γ. Default 1.
    #[serde(default = "unit")]
    pub gamma: f64,
    /// λ of the advantages. Default 0.95.
    #[serde(default = "lambda")]
    pub lambda: f64,
    /// ε of the policy's clip. Default 0.2 (Schulman et al. 2017).
    #[serde(default = "clip_range")]
    pub clip_range: f64,
    /// ε of the values' clip. Default 0.2.
    #[serde(default = "clip_range")]
    pub value_clip_range: f64,
    /// Weight of the value loss. Default 0.1 (TRL).
    #[serde(default = "value_coefficient")]
    pub value_coefficient: f64,
    /// Factor on the value head's learning rate. Default 100: it begins at 0, the policy does not.
    #[serde(default = "value_rate")]
    pub value_rate: f64,
    /// Whether the value loss moves the policy's network, too. Default false.
    #[serde(default)]
    pub value_trains_policy: bool,
    /// Passes over each batch of rollouts. Default 4 (TRL), at least 1.
    #[serde(default = "updates")]
    pub updates: usize,
    /// Updates of each pass. Default 1, at least 1.
    #[serde(default = "one")]
    pub minibatches: usize,
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
    kl_coefficient: f64 = 0.1;
    kl_target: f64 = 6.0;
    kl_gain: f64 = 0.1;
    lambda: f64 = 0.95;
    clip_range: f64 = 0.2;
    value_coefficient: f64 = 0.1;
    value_rate: f64 = 100.0;
    updates: usize = 4;
}

impl RewritingMethod for PpoMethod {
    const NAME: &'static str = "ppo";
    /// MGQRe.
    const LEARNING_RATE: f64 = 5e-6;
    /// MGQRe.
    const EPOCHS: f64 = 1.0;
    /// MGQRe.
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
            ("kl_target", self.kl_target, 1e-6, 1e6),
            ("kl_gain", self.kl_gain, 0.0, 5.0),
            ("kl_limit", self.kl_limit, 0.0, 1e6),
            ("gamma", self.gamma, 0.0, 1.0),
            ("lambda", self.lambda, 0.0, 1.0),
            ("clip_range", self.clip_range, 1e-6, 1.0),
            ("value_clip_range", self.value_clip_range, 1e-6, 1e6),
            ("value_coefficient", self.value_coefficient, 0.0, 100.0),
            ("value_rate", self.value_rate, 0.0, 1e6),
        ] {
            in_range(field, value, least, most)?;
        }
        for (field, value) in [("updates", self.updates), ("minibatches", self.minibatches)] {
            if !(1..=1024).contains(&value) {
                return Err(TrainingError::setting(field, "in [1, 1024]", &value));
            }
        }
        Ok(())
    }

    fn plan(config: &PpoConfig) -> Result<Plan> {
        let shape = PlanShape {
            examples: queries_at_hand(config.method.candidates.as_ref(), &config.data)?,
            targets: 1,
            updates: (config.method.updates * config.method.minibatches) as u64,
            samples: true,
        };
        plan(config, &config.method.policy, shape)
    }

    fn run(config: &PpoConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
        super::run(config, progress)
    }
}

impl PpoMethod {
    pub(super) fn advantage(&self) -> AdvantageConfig {
        AdvantageConfig { gamma: self.gamma, lambda: self.lambda }
    }

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
