//! Settings of group relative policy optimization.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::candidates::CandidateConfig;
use crate::data::corpus::CorpusConfig;
use crate::reward::RewardConfig;
use crate::stages::rewriter::config::{in_range, read_toml};
use crate::stages::rewriter::plan::{plan, queries_at_hand};
use crate::stages::rewriter::{
    EvaluationSettings, OptimizationSettings, Plan, PlanShape, Policy, PolicySettings, RetrieverSettings,
    RewriterStage, RunSummary, Sampling, StagePaths, StageSettings,
};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Settings of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpoConfig {
    /// The run's directory: configuration, logs, checkpoints, and at the end the rewriter in `model/`.
    pub output: PathBuf,
    /// Decides order and rollouts. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// Pictures and captions.
    pub data: CorpusConfig,
    /// The rewriter that learns; as it is at the start, it is the reference, too.
    pub policy: PolicySettings,
    /// Whose queries are rewritten. Default: all training captions.
    #[serde(default)]
    pub candidates: Option<CandidateConfig>,
    /// What a rewrite is worth.
    #[serde(default)]
    pub reward: RewardConfig,
    /// The retriever.
    #[serde(default)]
    pub retriever: RetrieverSettings,
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
    /// Peak learning rate. Default 1e-6 (Shao et al. 2024).
    #[serde(default = "learning_rate")]
    pub learning_rate: f64,
    /// Passes over the queries. Default 1.
    #[serde(default = "unit")]
    pub epochs: f64,
    /// Stop after this many steps; 0 for no limit. Default 0.
    #[serde(default)]
    pub max_steps: u64,
    /// Queries of a step. Default 32.
    #[serde(default = "batch_size")]
    pub batch_size: usize,
    /// How gradients become updates.
    #[serde(default)]
    pub optimization: OptimizationSettings,
    /// Measuring on the validation split.
    #[serde(default)]
    pub evaluation: EvaluationSettings,
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
    learning_rate: f64 = 1e-6;
    batch_size: usize = 32;
}

impl RewriterStage for GrpoConfig {
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
            mined: self.candidates.as_mut().map(|candidates| &mut candidates.mined),
        }
    }

    fn plan(&self) -> Result<Plan> {
        let examples = queries_at_hand(self.candidates.as_ref(), &self.data)?;
        let shape = PlanShape {
            examples,
            epochs: self.epochs,
            max_steps: self.max_steps,
            targets: self.group,
            updates: self.updates as u64,
            samples: true,
        };
        plan(&self.stage(), shape)
    }

    fn run(&self, progress: &mut dyn Progress) -> Result<RunSummary> {
        super::run(self, progress)
    }
}

impl GrpoConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`TrainingError::Setting`].
    pub fn check(&self) -> Result<()> {
        self.reward.check()?;
        for (field, value, least, most) in [
            ("epochs", self.epochs, 0.0, 1e6),
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
        self.stage().check()
    }

    pub(super) fn sampling(&self, step: u64, policy: &Policy) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            most_tokens: policy.most_target_tokens(policy.settings().prompt.max_tokens),
            seed: self.seed,
            step,
        }
    }

    /// What the loop needs of the settings.
    pub(super) fn stage(&self) -> StageSettings<'_> {
        StageSettings {
            name: "grpo",
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
