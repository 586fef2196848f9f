//! Group relative policy optimization: several rewrites of each query compete with each other, and no value is learned.
//!
//! Shao et al. 2024 (DeepSeekMath). The same rewards as [`super::ppo`]; the distance to the reference is part of the
//! loss. Queries whose rewrites are all worth the same teach nothing, and are counted.

use relens::progress::Progress;
use relens_models::ops::target_log_probs;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rewriter::config::in_range;
use super::rewriter::reinforcement::check_count;
use super::rewriter::{
    Example, Experiences, LearnedStep, Plan, Policy, PolicyConfig, ReferencePolicy, Reinforcement,
    RewriterConfig, RewritingMethod, RolloutConfig, RolloutLearner, RunSummary, finite_loss, learn, mean,
};
use crate::config_file::ConfigTable;
use crate::data::candidates::CandidateConfig;
use crate::objectives::{GroupRollouts, entropies, group_advantages, group_relative_loss};
use crate::optimizer::{GradientAccumulator, Gradients};
use crate::run::trainer::{Trainer, UpdateReport};
use crate::{Result, TrainingError};

/// Trains a rewriter, or goes on with a run that was interrupted, and exports the best weights.
///
/// # Errors
/// As [`crate::stages::ppo::run`].
pub fn run(config: &GrpoConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
    let rollouts = &config.method.rollouts;
    learn(config, &rollouts.policy, progress, |_, environment, progress| {
        let learner = || {
            Ok(GroupRelative { reference: ReferencePolicy::open(&rollouts.policy)?, config: config.clone() })
        };
        Reinforcement::prepare(&config.run, rollouts, environment, progress, learner)
    })
}

/// The method's own part.
struct GroupRelative {
    config: GrpoConfig,
    reference: ReferencePolicy,
}

/// Everything about a batch of rollouts that stays the same over its updates.
struct GrpoTargets {
    old_log_probs: Vec<f32>,
    reference_log_probs: Vec<f32>,
    /// One advantage a token.
    advantages: Vec<f32>,
    offsets: Vec<usize>,
    /// Share of the queries whose rewrites are all worth the same.
    flat_groups: f64,
}

/// Sums over the updates of a step, weighted by rollouts.
#[derive(Default)]
struct GrpoTotals {
    rollouts: f64,
    loss: f64,
    kl: f64,
    clip_fraction: f64,
    entropy: f64,
}

impl GroupRelative {
    fn targets(&self, policy: &Policy, experiences: &Experiences, step: u64) -> Result<GrpoTargets> {
        let offsets = experiences.offsets();
        let (per_rollout, flat_groups) =
            advantages_by_query(experiences, self.config.method.objective.scale_advantages)?;
        let advantages = per_rollout
            .iter()
            .zip(offsets.windows(2))
            .flat_map(|(&advantage, span)| std::iter::repeat_n(advantage, span[1] - span[0]))
            .collect();
        Ok(GrpoTargets {
            old_log_probs: experiences.log_probs(policy.model(), step)?,
            reference_log_probs: experiences.log_probs(self.reference.model(), step)?,
            advantages,
            offsets,
            flat_groups,
        })
    }

    fn gradients(
        &self,
        policy: &Policy,
        trainer: &Trainer,
        experiences: &Experiences,
        targets: &GrpoTargets,
        totals: &mut GrpoTotals,
    ) -> Result<Gradients> {
        let step = trainer.steps() + 1;
        let all: Vec<usize> = (0..experiences.rollouts.len()).collect();
        let mut accumulator = GradientAccumulator::default();
        for micro in all.chunks(self.config.run.optimization.micro_batch(all.len())) {
            let (Some(&first), Some(&last)) = (micro.first(), micro.last()) else { continue };
            let rollouts = experiences.rollouts.get(first..=last).unwrap_or_default();
            let offsets = targets.offsets.get(first..=last + 1).unwrap_or_default();
            let (start, end) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
            let local: Vec<usize> = offsets.iter().map(|offset| offset - start).collect();
            let of = |values: &'_ [f32]| values.get(start..end).unwrap_or_default().to_vec();
            let batch = Example::batch(rollouts.iter().map(|rollout| &rollout.example));
            let pass = policy.pass(&batch, None)?;
            let logits = policy.model().logits(&pass.hidden)?;
            let log_probs = target_log_probs(&logits, &batch.targets.ids)?;
            let constants = GroupRollouts {
                old_log_probs: &of(&targets.old_log_probs),
                reference_log_probs: &of(&targets.reference_log_probs),
                advantages: &of(&targets.advantages),
                offsets: &local,
            };
            let found = group_relative_loss(
                &log_probs,
                constants,
                self.config.method.rollouts.clip_range,
                self.config.method.objective.kl_coefficient,
            )?;
            let weight = rollouts.len() as f64;
            totals.rollouts += weight;
            totals.loss += weight * finite_loss(&found.loss, step)?;
            totals.kl += weight * found.kl;
            totals.clip_fraction += weight * found.clip_fraction;
            totals.entropy += weight * mean(&entropies(&logits)?);
            let gradients = pass.gradients(&found.loss, trainer.parameters(), step)?;
            accumulator.add(&gradients, rollouts.len())?;
        }
        accumulator
            .take()?
            .ok_or_else(|| TrainingError::argument("grpo stage", "at least one rollout", "none"))
    }
}

/// The advantage of every rollout within those of its query, and the share of queries without any difference. A
/// rollout that is alone with its query has none.
fn advantages_by_query(experiences: &Experiences, scale: bool) -> Result<(Vec<f32>, f64)> {
    let mut advantages = Vec::with_capacity(experiences.rollouts.len());
    let (mut groups, mut flat) = (0u32, 0u32);
    for group in experiences.rollouts.chunk_by(|left, right| left.query == right.query) {
        let scores: Vec<f32> = group.iter().map(|rollout| rollout.score).collect();
        groups += 1;
        flat += u32::from(scores.iter().all(|score| Some(score) == scores.first()));
        if scores.len() < 2 {
            advantages.push(0.0);
        } else {
            advantages.extend(group_advantages(&scores, scores.len(), scale)?);
        }
    }
    Ok((advantages, f64::from(flat) / f64::from(groups.max(1))))
}

impl RolloutLearner for GroupRelative {
    type State = ();

    fn learn(
        &mut self,
        policy: &Policy,
        trainer: &mut Trainer,
        experiences: &Experiences,
        step: u64,
    ) -> Result<LearnedStep> {
        let targets = self.targets(policy, experiences, step)?;
        let mut totals = GrpoTotals::default();
        let mut update = UpdateReport { learning_rate: 0.0, gradient_norm: 0.0 };
        for _ in 0..self.config.method.objective.updates {
            let gradients = self.gradients(policy, trainer, experiences, &targets, &mut totals)?;
            update = trainer.update(&gradients, step)?;
        }
        let rollouts = totals.rollouts.max(1.0);
        let kl = totals.kl / rollouts;
        let metrics = json!({
            "loss": totals.loss / rollouts,
            "kl": kl,
            "entropy": totals.entropy / rollouts,
            "clip_ratio/region_mean": totals.clip_fraction / rollouts,
            "frac_reward_zero_std": targets.flat_groups,
        });
        let metrics = metrics.as_object().cloned().unwrap_or_default();
        Ok(LearnedStep { metrics, kl, distance: format!("{kl:.3} nats a token"), update })
    }

    fn rollouts_per_query(&self) -> usize {
        self.config.method.objective.group
    }

    fn updates_per_step(&self) -> u64 {
        self.config.method.objective.updates as u64
    }
}

/// Settings of one run.
pub type GrpoConfig = RewriterConfig<GrpoMethod>;

/// The method's own settings, which stand beside each other in the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GrpoMethod {
    /// How the policy explores.
    #[serde(flatten)]
    pub rollouts: RolloutConfig,
    /// How it learns from that.
    #[serde(flatten)]
    pub objective: GrpoObjective,
}

/// How group relative policy optimization learns from rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrpoObjective {
    /// β, the weight of the KL to the reference. Default 0.04 (Shao et al. 2024).
    pub kl_coefficient: f64,
    /// Rewrites of each query. Default 8 (TRL; 64 in the paper), range [2, 1024].
    pub group: usize,
    /// Whether advantages are divided by the group's deviation. Default true; false is Dr. GRPO (Liu et al. 2025).
    pub scale_advantages: bool,
    /// Updates on each batch of rollouts. Default 1 (Shao et al. 2024), at least 1.
    pub updates: usize,
}

impl Default for GrpoObjective {
    fn default() -> Self {
        Self { kl_coefficient: 0.04, group: 8, scale_advantages: true, updates: 1 }
    }
}

impl RewritingMethod for GrpoMethod {
    const NAME: &'static str = "grpo";
    /// Shao et al. 2024.
    const LEARNING_RATE: f64 = 1e-6;
    const EPOCHS: f64 = 1.0;
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
        in_range("kl_coefficient", self.objective.kl_coefficient, 0.0, 1e3)?;
        check_count("group", self.objective.group, 2)?;
        check_count("updates", self.objective.updates, 1)
    }

    fn plan(config: &GrpoConfig) -> Result<Plan> {
        let GrpoMethod { rollouts, objective } = &config.method;
        rollouts.plan(config, objective.group, objective.updates as u64)
    }

    fn run(config: &GrpoConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
        run(config, progress)
    }
}
