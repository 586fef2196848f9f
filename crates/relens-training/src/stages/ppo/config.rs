//! Settings of proximal policy optimization.

use relens::progress::Progress;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::config_file::ConfigTable;
use crate::data::candidates::CandidateConfig;
use crate::objectives::AdvantageConfig;
use crate::stages::rewriter::config::in_range;
use crate::stages::rewriter::reinforcement::check_count;
use crate::stages::rewriter::{
    Plan, PolicyConfig, RewriterConfig, RewritingMethod, RolloutConfig, RunSummary,
};

/// Settings of one run.
pub type PpoConfig = RewriterConfig<PpoMethod>;

/// The method's own settings, which stand beside each other in the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PpoMethod {
    /// How the policy explores.
    #[serde(flatten)]
    pub rollouts: RolloutConfig,
    /// How it learns from that.
    #[serde(flatten)]
    pub objective: PpoObjective,
}

/// How proximal policy optimization learns from rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PpoObjective {
    /// β at the start: the penalty on the KL to the reference. Default 0.1 (MGQRe).
    pub kl_coefficient: f64,
    /// The KL that β is steered towards, in nats a rewrite. Default 6 (Ziegler et al. 2019; TRL), above 0.
    pub kl_target: f64,
    /// How fast β follows. Default 0.1 (Ziegler et al. 2019); 0 holds it.
    pub kl_gain: f64,
    /// γ. Default 1.
    pub gamma: f64,
    /// λ of the advantages. Default 0.95.
    pub lambda: f64,
    /// ε of the values' clip. Default 0.2.
    pub value_clip_range: f64,
    /// Weight of the value loss. Default 0.1 (TRL).
    pub value_coefficient: f64,
    /// Factor on the value head's learning rate. Default 100: it begins at 0, the policy does not.
    pub value_rate: f64,
    /// Whether the value loss moves the policy's network, too. Default false.
    pub value_trains_policy: bool,
    /// Passes over each batch of rollouts. Default 4 (TRL), at least 1.
    pub updates: usize,
    /// Updates of each pass. Default 1, at least 1.
    pub minibatches: usize,
}

impl Default for PpoObjective {
    fn default() -> Self {
        Self {
            kl_coefficient: 0.1,
            kl_target: 6.0,
            kl_gain: 0.1,
            gamma: 1.0,
            lambda: 0.95,
            value_clip_range: 0.2,
            value_coefficient: 0.1,
            value_rate: 100.0,
            value_trains_policy: false,
            updates: 4,
            minibatches: 1,
        }
    }
}

impl RewritingMethod for PpoMethod {
    const NAME: &'static str = "ppo";
    /// MGQRe.
    const LEARNING_RATE: f64 = 5e-6;
    /// MGQRe.
    const EPOCHS: f64 = 1.0;
    /// MGQRe.
    const BATCH_SIZE: usize = 32;

    fn read(fields: &mut ConfigTable<'_>) -> Result<Self> {
        Ok(Self { rollouts: fields.take()?, objective: fields.take()? })
    }

    fn policy(&mut self) -> Option<&mut PolicyConfig> {
        Some(&mut self.rollouts.policy)
    }

    fn candidates(&mut self) -> Option<&mut CandidateConfig> {
        self.rollouts.candidates.as_mut()
    }

    fn check(&self) -> Result<()> {
        self.rollouts.check()?;
        let own = &self.objective;
        for (field, value, least, most) in [
            ("kl_coefficient", own.kl_coefficient, 0.0, 1e3),
            ("kl_target", own.kl_target, 1e-6, 1e6),
            ("kl_gain", own.kl_gain, 0.0, 5.0),
            ("gamma", own.gamma, 0.0, 1.0),
            ("lambda", own.lambda, 0.0, 1.0),
            ("value_clip_range", own.value_clip_range, 1e-6, 1e6),
            ("value_coefficient", own.value_coefficient, 0.0, 100.0),
            ("value_rate", own.value_rate, 0.0, 1e6),
        ] {
            in_range(field, value, least, most)?;
        }
        check_count("updates", own.updates, 1)?;
        check_count("minibatches", own.minibatches, 1)
    }

    fn plan(config: &PpoConfig) -> Result<Plan> {
        let PpoMethod { rollouts, objective } = &config.method;
        rollouts.plan(config, 1, objective.updates_per_step())
    }

    fn run(config: &PpoConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
        super::run(config, progress)
    }
}

impl PpoObjective {
    pub(super) fn advantage(&self) -> AdvantageConfig {
        AdvantageConfig { gamma: self.gamma, lambda: self.lambda }
    }

    pub(super) fn updates_per_step(&self) -> u64 {
        (self.updates * self.minibatches) as u64
    }
}
