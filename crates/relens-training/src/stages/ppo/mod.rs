//! Proximal policy optimization on the retriever's reward.
//!
//! MGQRe, section 3.3 (Ouyang et al. 2022; Ziegler et al. 2019): rewrites are sampled, rewarded by the retriever, and a
//! penalty on the distance to the reference policy (the one that the run starts from) keeps them sane. One step is one
//! batch of rollouts, on which several updates are made. Dropout is off: the ratio of probabilities must be 1 before
//! the first update.

mod config;
mod value_head;

pub use config::{PpoConfig, PpoMethod};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::value_head::ValueHead;
use super::rewriter::{
    Collection, Environment, EpochBatches, Example, Experiences, LearningStep, Policy, ReferencePolicy,
    RolloutQuery, RunSummary, StepReport, collect, finite_loss, learn, mean, rollout_queries,
};
use crate::objectives::{
    AdaptiveKl, Advantages, clipped_policy_loss, clipped_value_loss, entropies, explained_variance,
    generalized_advantages, sequence_sums, whiten,
};
use crate::optimizer::{GradientAccumulator, Gradients};
use crate::reward::Judge;
use crate::run::trainer::{Trainer, UpdateReport};
use crate::{Result, TrainingError};
use relens::progress::Progress;
use relens_models::ops::target_log_probs;

/// Trains a rewriter, or goes on with a run that was interrupted, and exports the best weights.
///
/// # Errors
/// As [`crate::stages::sft::run`]; rewards, log-probabilities and values that are not finite, with step and sample.
pub fn run(config: &PpoConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
    learn(config, &config.method.policy, progress, |policy, environment, progress| {
        ProximalPolicy::prepare(config.clone(), policy, environment, progress)
    })
}

/// The stage's own part.
struct ProximalPolicy {
    config: PpoConfig,
    queries: Vec<RolloutQuery>,
    batches: EpochBatches,
    judge: Judge,
    reference: ReferencePolicy,
    value_head: ValueHead,
    kl: AdaptiveKl,
}

/// What must be saved beside weights and optimizer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct PpoState {
    /// β, which follows the KL.
    kl_coefficient: f64,
}

/// Everything about a batch of rollouts that stays the same over its updates.
struct PpoTargets {
    old_log_probs: Vec<f32>,
    old_values: Vec<f32>,
    advantages: Vec<f32>,
    returns: Vec<f32>,
    offsets: Vec<usize>,
    /// Mean over rollouts of the KL to the reference, in nats.
    kl: f64,
}

/// Sums over the updates of a step, weighted by tokens.
#[derive(Default)]
struct PpoTotals {
    tokens: f64,
    policy_loss: f64,
    value_loss: f64,
    clip_fraction: f64,
    ratio: f64,
    approximate_kl: f64,
    entropy: f64,
}

impl ProximalPolicy {
    fn prepare(
        config: PpoConfig,
        policy: &Policy,
        environment: &mut Environment,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let queries = rollout_queries(config.method.candidates.as_ref(), &environment.corpus)?;
        progress.message(&format!("{} queries to rewrite", queries.len()));
        Ok(Self {
            batches: config.batches(queries.len()),
            queries,
            judge: environment.judge(&config.method.reward, progress)?,
            reference: ReferencePolicy::open(&config.method.policy)?,
            value_head: ValueHead::new(policy.model().width(), config.method.value_trains_policy)?,
            kl: AdaptiveKl {
                coefficient: config.method.kl_coefficient,
                target: config.method.kl_target,
                gain: config.method.kl_gain,
            },
            config,
        })
    }

    fn targets(&self, policy: &Policy, experiences: &Experiences, step: u64) -> Result<PpoTargets> {
        let offsets = experiences.offsets();
        let old_log_probs = experiences.log_probs(policy.model(), step)?;
        let reference = experiences.log_probs(self.reference.model(), step)?;
        let old_values =
            experiences.per_token("value", step, |batch| self.value_head.values_of(policy, batch))?;
        let divergence: Vec<f32> =
            old_log_probs.iter().zip(&reference).map(|(policy, reference)| policy - reference).collect();
        let mut rewards: Vec<f32> = divergence.iter().map(|kl| -(self.kl.coefficient as f32) * kl).collect();
        for (rollout, end) in experiences.rollouts.iter().zip(offsets.iter().skip(1)) {
            if let Some(last) = rewards.get_mut(end.saturating_sub(1)) {
                *last += rollout.score;
            }
        }
        let Advantages { mut advantages, returns } =
            generalized_advantages(&rewards, &old_values, &offsets, self.config.method.advantage())?;
        whiten(&mut advantages);
        let kl = mean(&sequence_sums(&divergence, &offsets)?);
        Ok(PpoTargets { old_log_probs, old_values, advantages, returns, offsets, kl })
    }

    /// The gradient of one minibatch, micro-batch by micro-batch.
    fn gradients(
        &self,
        policy: &Policy,
        trainer: &Trainer,
        experiences: &Experiences,
        targets: &PpoTargets,
        rollouts: std::ops::Range<usize>,
        totals: &mut PpoTotals,
    ) -> Result<Gradients> {
        let step = trainer.steps() + 1;
        let minibatch: Vec<usize> = rollouts.collect();
        let mut accumulator = GradientAccumulator::default();
        for micro in minibatch.chunks(self.config.optimization.micro_batch(minibatch.len())) {
            let (Some(&first), Some(&last)) = (micro.first(), micro.last()) else { continue };
            let rollouts = experiences.rollouts.get(first..=last).unwrap_or_default();
            let span = targets.offsets.get(first).copied().unwrap_or(0)
                ..targets.offsets.get(last + 1).copied().unwrap_or(0);
            let of = |values: &[f32]| values.get(span.clone()).unwrap_or_default().to_vec();
            let batch = Example::batch(rollouts.iter().map(|rollout| &rollout.example));
            let pass = policy.pass(&batch, None)?;
            let logits = policy.model().logits(&pass.hidden)?;
            let log_probs = target_log_probs(&logits, &batch.targets.ids)?;
            let clip = self.config.method.clip_range;
            let policy_loss =
                clipped_policy_loss(&log_probs, &of(&targets.old_log_probs), &of(&targets.advantages), clip)?;
            let values = self.value_head.values(&pass.hidden)?;
            let value_loss = clipped_value_loss(
                &values,
                &of(&targets.old_values),
                &of(&targets.returns),
                self.config.method.value_clip_range,
            )?;
            let loss = (&policy_loss.loss + (&value_loss * self.config.method.value_coefficient)?)?;
            finite_loss(&loss, step)?;
            let tokens = span.len();
            accumulator.add(&pass.gradients(&loss, trainer.parameters(), step)?, tokens)?;
            let weight = tokens as f64;
            totals.tokens += weight;
            totals.policy_loss += weight * finite_loss(&policy_loss.loss, step)?;
            totals.value_loss += weight * finite_loss(&value_loss, step)?;
            totals.clip_fraction += weight * policy_loss.clip_fraction;
            totals.ratio += weight * policy_loss.ratio;
            totals.approximate_kl += weight * policy_loss.approximate_kl;
            totals.entropy += weight * mean(&entropies(&logits)?);
        }
        accumulator.take()?.ok_or_else(|| {
            TrainingError::argument("ppo stage", "at least one rollout in a minibatch", "none")
        })
    }

    fn metrics(
        &self,
        experiences: &Experiences,
        targets: &PpoTargets,
        totals: &PpoTotals,
        update: UpdateReport,
    ) -> Map<String, Value> {
        let tokens = totals.tokens.max(1.0);
        let scores: Vec<f32> = experiences.rollouts.iter().map(|rollout| rollout.score).collect();
        let finished = experiences.rollouts.iter().filter(|rollout| rollout.finished).count();
        let penalty = -self.kl.coefficient * targets.kl;
        let own = json!({
            "objective/kl": targets.kl,
            "objective/entropy": totals.entropy / tokens,
            "objective/non_score_reward": penalty,
            "objective/rlhf_reward": mean(&scores) + penalty,
            "objective/scores": mean(&scores),
            "objective/kl_coefficient": self.kl.coefficient,
            "policy/approxkl_avg": totals.approximate_kl / tokens,
            "policy/clipfrac_avg": totals.clip_fraction / tokens,
            "loss/policy_avg": totals.policy_loss / tokens,
            "loss/value_avg": totals.value_loss / tokens,
            "val/ratio": totals.ratio / tokens,
            "val/explained_variance": explained_variance(&targets.old_values, &targets.returns),
            "val/num_eos_tokens": finished,
            "learning_rate": update.learning_rate,
            "grad_norm": update.gradient_norm,
        });
        let mut metrics = own.as_object().cloned().unwrap_or_default();
        metrics.extend(experiences.completion_metrics());
        metrics.extend(experiences.reward_metrics());
        metrics
    }
}

impl LearningStep for ProximalPolicy {
    type State = PpoState;

    fn batches(&self) -> &EpochBatches {
        &self.batches
    }

    fn updates_per_step(&self) -> u64 {
        (self.config.method.updates * self.config.method.minibatches) as u64
    }

    fn extra_parameters(&self) -> Vec<crate::optimizer::NamedParameter> {
        self.value_head.parameters(self.config.method.value_rate)
    }

    fn step(&mut self, policy: &Policy, trainer: &mut Trainer, step: u64) -> Result<StepReport> {
        let batch = self.batches.batch(step - 1);
        let queries: Vec<RolloutQuery> =
            batch.into_iter().filter_map(|index| self.queries.get(index).cloned()).collect();
        let sampling = self.config.method.sampling(self.config.seed, step, policy);
        let missing_end_penalty = self.config.method.missing_end_penalty;
        let collection = Collection { sampling, per_query: 1, missing_end_penalty };
        let experiences = collect(policy, &self.judge, &queries, collection)?;
        let targets = self.targets(policy, &experiences, step)?;
        let mut totals = PpoTotals::default();
        let mut last = UpdateReport { learning_rate: 0.0, gradient_norm: 0.0 };
        let count = experiences.rollouts.len();
        let size = count.div_ceil(self.config.method.minibatches).max(1);
        for _ in 0..self.config.method.updates {
            for first in (0..count).step_by(size) {
                let rollouts = first..(first + size).min(count);
                let gradients =
                    self.gradients(policy, trainer, &experiences, &targets, rollouts, &mut totals)?;
                last = trainer.update(&gradients, step)?;
            }
        }
        let metrics = self.metrics(&experiences, &targets, &totals, last);
        let first_of_epoch = (step - 1).is_multiple_of(self.batches.steps_per_epoch());
        let shown = if first_of_epoch { self.config.evaluation.samples } else { 0 };
        let samples = experiences.samples(&queries, shown);
        self.kl.update(targets.kl)?;
        let limit = self.config.method.kl_limit;
        let stop = (limit > 0.0 && targets.kl > limit).then(|| {
            format!(
                "the policy is {:.2} nats a rewrite away from the reference, the limit is {limit}",
                targets.kl
            )
        });
        Ok(StepReport { metrics, samples, messages: experiences.messages, stop })
    }

    fn state(&self) -> PpoState {
        PpoState { kl_coefficient: self.kl.coefficient }
    }

    fn restore(&mut self, state: PpoState) {
        self.kl.coefficient = state.kl_coefficient;
    }
}
