//! Group relative policy optimization: several rewrites of each query compete with each other, and no value is learned.
//!
//! Shao et al. 2024 (DeepSeekMath). The same rewards as [`super::ppo`]; the distance to the reference is part of the
//! loss. Queries whose rewrites are all worth the same teach nothing, and are counted.

mod config;

pub use config::{GrpoConfig, GrpoMethod};

use relens_models::ops::target_log_probs;
use serde_json::{Map, Value, json};

use super::rewriter::{
    Collection, Environment, EpochBatches, Example, Experiences, LearningStep, Policy, ReferencePolicy,
    RolloutQuery, RunSummary, StepReport, collect, finite_loss, learn, mean, rollout_queries,
};
use crate::objectives::{GroupRollouts, entropies, group_advantages, group_relative_loss};
use crate::optimizer::{GradientAccumulator, Gradients};
use crate::reward::Judge;
use crate::run::trainer::{Trainer, UpdateReport};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Trains a rewriter, or goes on with a run that was interrupted, and exports the best weights.
///
/// # Errors
/// As [`crate::stages::ppo::run`].
pub fn run(config: &GrpoConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
    learn(config, &config.method.policy, progress, |policy, environment, progress| {
        GroupRelative::prepare(config.clone(), environment, progress, policy)
    })
}

/// The stage's own part.
struct GroupRelative {
    config: GrpoConfig,
    queries: Vec<RolloutQuery>,
    batches: EpochBatches,
    judge: Judge,
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
    fn prepare(
        config: GrpoConfig,
        environment: &mut Environment,
        progress: &mut dyn Progress,
        _policy: &Policy,
    ) -> Result<Self> {
        let queries = rollout_queries(config.method.candidates.as_ref(), &environment.corpus)?;
        progress.message(&format!("{} queries to rewrite", queries.len()));
        Ok(Self {
            batches: config.batches(queries.len()),
            queries,
            judge: environment.judge(&config.method.reward, progress)?,
            reference: ReferencePolicy::open(&config.method.policy)?,
            config,
        })
    }

    fn targets(&self, policy: &Policy, experiences: &Experiences, step: u64) -> Result<GrpoTargets> {
        let offsets = experiences.offsets();
        let (per_rollout, flat_groups) =
            advantages_by_query(experiences, self.config.method.scale_advantages)?;
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
        for micro in all.chunks(self.config.optimization.micro_batch(all.len())) {
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
                self.config.method.clip_range,
                self.config.method.kl_coefficient,
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

    fn metrics(
        &self,
        experiences: &Experiences,
        targets: &GrpoTargets,
        totals: &GrpoTotals,
        update: UpdateReport,
    ) -> Map<String, Value> {
        let rollouts = totals.rollouts.max(1.0);
        let own = json!({
            "loss": totals.loss / rollouts,
            "kl": totals.kl / rollouts,
            "entropy": totals.entropy / rollouts,
            "clip_ratio/region_mean": totals.clip_fraction / rollouts,
            "frac_reward_zero_std": targets.flat_groups,
            "learning_rate": update.learning_rate,
            "grad_norm": update.gradient_norm,
        });
        let mut metrics = own.as_object().cloned().unwrap_or_default();
        metrics.extend(experiences.completion_metrics());
        metrics.extend(experiences.reward_metrics());
        metrics
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

impl LearningStep for GroupRelative {
    type State = ();

    fn batches(&self) -> &EpochBatches {
        &self.batches
    }

    fn updates_per_step(&self) -> u64 {
        self.config.method.updates as u64
    }

    fn step(&mut self, policy: &Policy, trainer: &mut Trainer, step: u64) -> Result<StepReport> {
        let batch = self.batches.batch(step - 1);
        let queries: Vec<RolloutQuery> =
            batch.into_iter().filter_map(|index| self.queries.get(index).cloned()).collect();
        let collection = Collection {
            sampling: self.config.method.sampling(self.config.seed, step, policy),
            per_query: self.config.method.group,
            missing_end_penalty: self.config.method.missing_end_penalty,
        };
        let experiences = collect(policy, &self.judge, &queries, collection)?;
        let targets = self.targets(policy, &experiences, step)?;
        let mut totals = GrpoTotals::default();
        let mut last = UpdateReport { learning_rate: 0.0, gradient_norm: 0.0 };
        for _ in 0..self.config.method.updates {
            let gradients = self.gradients(policy, trainer, &experiences, &targets, &mut totals)?;
            last = trainer.update(&gradients, step)?;
        }
        let metrics = self.metrics(&experiences, &targets, &totals, last);
        let first_of_epoch = (step - 1).is_multiple_of(self.batches.steps_per_epoch());
        let shown = if first_of_epoch { self.config.evaluation.samples } else { 0 };
        let samples = experiences.samples(&queries, shown);
        let kl = totals.kl / totals.rollouts.max(1.0);
        let limit = self.config.method.kl_limit;
        let stop = (limit > 0.0 && kl > limit).then(|| {
            format!("the policy is {kl:.3} nats a token away from the reference, the limit is {limit}")
        });
        Ok(StepReport { metrics, samples, messages: experiences.messages, stop })
    }
}
