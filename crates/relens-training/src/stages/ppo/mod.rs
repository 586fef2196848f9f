//! Proximal policy optimization on the retriever's reward.
//!
//! MGQRe, section 3.3 (Ouyang et al. 2022; Ziegler et al. 2019): rewrites are sampled, rewarded by the retriever, and a
//! penalty on the distance to the reference policy (the one that the run starts from) keeps them sane. One step is one
//! batch of rollouts, on which several updates are made. Dropout is off: the ratio of probabilities must be 1 before
//! the first update.
//!
//! How good the text written so far is expected to become: one number for each token.

mod config;

use candle_core::{Device, Tensor, Var};
use relens::progress::Progress;
use relens_models::language_model::PromptTargetBatch;
use relens_models::ops::{linear, target_log_probs};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::rewriter::{
    Example, Experiences, LearnedStep, ReferencePolicy, Reinforcement, RolloutLearner, RunSummary,
    finite_loss, learn, mean,
};
use crate::objectives::{
    AdaptiveKl, Advantages, clipped_policy_loss, clipped_value_loss, entropies, explained_variance,
    generalized_advantages, sequence_sums, whiten,
};
use crate::optimizer::{GradientAccumulator, Gradients, NamedParameter};
use crate::run::trainer::{Trainer, UpdateReport};
use crate::stages::rewriter::Policy;
use crate::{Result, TrainingError};

pub use config::{PpoConfig, PpoMethod, PpoObjective};

/// Trains a rewriter, or goes on with a run that was interrupted, and exports the best weights.
///
/// # Errors
/// As [`crate::stages::sft::run`]; rewards, log-probabilities and values that are not finite, with step and sample.
pub fn run(config: &PpoConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
    let rollouts = &config.method.rollouts;
    learn(config, &rollouts.policy, progress, |policy, environment, progress| {
        let learner = || ProximalPolicy::new(config, policy);
        Reinforcement::prepare(&config.run, rollouts, environment, progress, learner)
    })
}

/// The method's own part.
struct ProximalPolicy {
    config: PpoConfig,
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
    fn new(config: &PpoConfig, policy: &Policy) -> Result<Self> {
        let objective = &config.method.objective;
        Ok(Self {
            reference: ReferencePolicy::open(&config.method.rollouts.policy)?,
            value_head: ValueHead::new(policy.model().width(), objective.value_trains_policy)?,
            kl: AdaptiveKl {
                coefficient: objective.kl_coefficient,
                target: objective.kl_target,
                gain: objective.kl_gain,
            },
            config: config.clone(),
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
        let Advantages { mut advantages, returns } = generalized_advantages(
            &rewards,
            &old_values,
            &offsets,
            self.config.method.objective.advantage(),
        )?;
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
        for micro in minibatch.chunks(self.config.run.optimization.micro_batch(minibatch.len())) {
            let (Some(&first), Some(&last)) = (micro.first(), micro.last()) else { continue };
            let rollouts = experiences.rollouts.get(first..=last).unwrap_or_default();
            let span = targets.offsets.get(first).copied().unwrap_or(0)
                ..targets.offsets.get(last + 1).copied().unwrap_or(0);
            let of = |values: &[f32]| values.get(span.clone()).unwrap_or_default().to_vec();
            let batch = Example::batch(rollouts.iter().map(|rollout| &rollout.example));
            let pass = policy.pass(&batch, None)?;
            let logits = policy.model().logits(&pass.hidden)?;
            let log_probs = target_log_probs(&logits, &batch.targets.ids)?;
            let clip = self.config.method.rollouts.clip_range;
            let policy_loss =
                clipped_policy_loss(&log_probs, &of(&targets.old_log_probs), &of(&targets.advantages), clip)?;
            let values = self.value_head.values(&pass.hidden)?;
            let value_loss = clipped_value_loss(
                &values,
                &of(&targets.old_values),
                &of(&targets.returns),
                self.config.method.objective.value_clip_range,
            )?;
            let loss = (&policy_loss.loss + (&value_loss * self.config.method.objective.value_coefficient)?)?;
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
        });
        own.as_object().cloned().unwrap_or_default()
    }
}

impl RolloutLearner for ProximalPolicy {
    type State = PpoState;

    fn learn(
        &mut self,
        policy: &Policy,
        trainer: &mut Trainer,
        experiences: &Experiences,
        step: u64,
    ) -> Result<LearnedStep> {
        let targets = self.targets(policy, experiences, step)?;
        let mut totals = PpoTotals::default();
        let mut update = UpdateReport { learning_rate: 0.0, gradient_norm: 0.0 };
        let PpoObjective { updates, minibatches, .. } = self.config.method.objective;
        let count = experiences.rollouts.len();
        let size = count.div_ceil(minibatches).max(1);
        for _ in 0..updates {
            for first in (0..count).step_by(size) {
                let rollouts = first..(first + size).min(count);
                let gradients =
                    self.gradients(policy, trainer, experiences, &targets, rollouts, &mut totals)?;
                update = trainer.update(&gradients, step)?;
            }
        }
        let metrics = self.metrics(experiences, &targets, &totals);
        self.kl.update(targets.kl)?;
        let distance = format!("{:.2} nats a rewrite", targets.kl);
        Ok(LearnedStep { metrics, kl: targets.kl, distance, update })
    }

    fn updates_per_step(&self) -> u64 {
        self.config.method.objective.updates_per_step()
    }

    fn extra_parameters(&self) -> Vec<NamedParameter> {
        self.value_head.parameters(self.config.method.objective.value_rate)
    }

    fn state(&self) -> PpoState {
        PpoState { kl_coefficient: self.kl.coefficient }
    }

    fn restore(&mut self, state: PpoState) {
        self.kl.coefficient = state.kl_coefficient;
    }
}

/// A linear map of the policy's last hidden state, that begins at 0.
#[derive(Debug)]
struct ValueHead {
    weight: Var,
    bias: Var,
    trains_policy: bool,
}

impl ValueHead {
    /// A head on states of this width. Unless `trains_policy`, its gradient ends at the states.
    fn new(width: usize, trains_policy: bool) -> Result<Self> {
        Ok(Self {
            weight: Var::from_vec(vec![0f32; width], (width, 1), &Device::Cpu)?,
            bias: Var::from_vec(vec![0f32; 1], 1, &Device::Cpu)?,
            trains_policy,
        })
    }

    /// What learns, with a factor on the learning rate.
    fn parameters(&self, rate: f64) -> Vec<NamedParameter> {
        [("value_head.weight", &self.weight), ("value_head.bias", &self.bias)]
            .map(|(name, var)| NamedParameter::new(name, var.clone()).with_learning_rate_scale(rate))
            .into()
    }

    /// # Shapes
    /// - hidden: `[tokens, width]`
    /// - output: `[tokens]`
    fn values(&self, hidden: &Tensor) -> Result<Tensor> {
        let hidden = if self.trains_policy { hidden.clone() } else { hidden.detach() };
        Ok(linear(&hidden, &self.weight, Some(&self.bias))?.squeeze(1)?)
    }

    /// The values of a batch of rollouts.
    fn values_of(&self, policy: &Policy, batch: &PromptTargetBatch) -> Result<Tensor> {
        self.values(&policy.hidden(batch)?)
    }
}
