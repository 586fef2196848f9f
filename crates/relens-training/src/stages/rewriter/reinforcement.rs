//! What the methods share whose policy learns from rewrites of its own: their settings, and the order of a step.

use relens::progress::Progress;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::config::{PolicyConfig, RewriterConfig, RewriterRunConfig, in_range};
use super::environment::Environment;
use super::examples::EpochBatches;
use super::experience::{Collection, Experiences, RolloutQuery, collect};
use super::learning::LearningStep;
use super::plan::{Plan, PlanShape, plan, queries_at_hand};
use super::policy::Policy;
use super::rollouts::{Sampling, rollout_queries};
use super::{RewritingMethod, StepReport};
use crate::data::candidates::CandidateConfig;
use crate::optimizer::NamedParameter;
use crate::reward::{Judge, RewardConfig};
use crate::run::trainer::{Trainer, UpdateReport};
use crate::{Result, TrainingError};
use relens::counted::counted;

/// How a policy explores, and what its rewrites are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutConfig {
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
    /// Stop when the KL of a step is above this, in nats a rewrite (`ppo`) or a token (`grpo`); 0 never stops. Default 0.
    #[serde(default)]
    pub kl_limit: f64,
    /// ε of the policy's clip. Default 0.2 (Schulman et al. 2017).
    #[serde(default = "clip_range")]
    pub clip_range: f64,
}

fn unit() -> f64 {
    1.0
}

fn clip_range() -> f64 {
    0.2
}

impl RolloutConfig {
    pub(crate) fn check(&self) -> Result<()> {
        self.reward.check()?;
        in_range("temperature", self.temperature, 1e-3, 10.0)?;
        in_range("top_p", self.top_p, 1e-6, 1.0)?;
        in_range("missing_end_penalty", self.missing_end_penalty, 0.0, 1e3)?;
        in_range("kl_limit", self.kl_limit, 0.0, 1e6)?;
        in_range("clip_range", self.clip_range, 1e-6, 1.0)
    }

    /// What a run will need that draws so many rollouts of each query and makes so many updates of a step.
    pub(crate) fn plan<M: RewritingMethod>(
        &self,
        config: &RewriterConfig<M>,
        targets: usize,
        updates: u64,
    ) -> Result<Plan> {
        let examples = queries_at_hand(self.candidates.as_ref(), &config.run.data)?;
        plan(config, &self.policy, PlanShape { examples, targets, updates, samples: true })
    }
}

/// Refuses a number of updates, or of parts of a batch, that is 0 or beyond all measure.
pub(crate) fn check_count(field: &str, count: usize, least: usize) -> Result<()> {
    if (least..=1024).contains(&count) {
        return Ok(());
    }
    Err(TrainingError::setting(field, format!("in [{least}, 1024]"), &count))
}

/// What a method makes of the rollouts of a step.
pub(crate) trait RolloutLearner {
    /// What must be saved beside weights and optimizer.
    type State: Clone + Default + Serialize + DeserializeOwned;

    /// Makes all updates of step number `step`.
    fn learn(
        &mut self,
        policy: &Policy,
        trainer: &mut Trainer,
        experiences: &Experiences,
        step: u64,
    ) -> Result<LearnedStep>;

    /// Rollouts of each query.
    fn rollouts_per_query(&self) -> usize {
        1
    }

    /// Updates of the weights in one step.
    fn updates_per_step(&self) -> u64;

    /// What learns beside the policy.
    fn extra_parameters(&self) -> Vec<NamedParameter> {
        Vec::new()
    }

    /// What must be saved.
    fn state(&self) -> Self::State {
        Self::State::default()
    }

    /// Puts back what [`RolloutLearner::state`] gave.
    fn restore(&mut self, state: Self::State) {
        let _ = state;
    }
}

/// What a step's updates came to.
pub(crate) struct LearnedStep {
    /// The method's own numbers.
    pub(crate) metrics: Map<String, Value>,
    /// How far the policy is from the reference.
    pub(crate) kl: f64,
    /// The same, as one would say it.
    pub(crate) distance: String,
    /// The last update.
    pub(crate) update: UpdateReport,
}

/// A step: queries are drawn, rewritten and judged, then the method learns from that.
pub(crate) struct Reinforcement<L> {
    run: RewriterRunConfig,
    rollouts: RolloutConfig,
    queries: Vec<RolloutQuery>,
    batches: EpochBatches,
    judge: Judge,
    learner: L,
}

impl<L: RolloutLearner> Reinforcement<L> {
    /// Looks up the queries and opens the judge; `learner` makes the method's own part.
    pub(crate) fn prepare(
        run: &RewriterRunConfig,
        rollouts: &RolloutConfig,
        environment: &mut Environment,
        progress: &mut dyn Progress,
        learner: impl FnOnce() -> Result<L>,
    ) -> Result<Self> {
        let queries = rollout_queries(rollouts.candidates.as_ref(), &environment.corpus)?;
        progress.message(&format!("{} to rewrite", counted(queries.len(), "query")));
        Ok(Self {
            batches: run.batches(queries.len()),
            queries,
            judge: environment.judge(&rollouts.reward, progress)?,
            learner: learner()?,
            run: run.clone(),
            rollouts: rollouts.clone(),
        })
    }

    fn collection(&self, policy: &Policy, step: u64) -> Collection {
        Collection {
            sampling: Sampling {
                temperature: self.rollouts.temperature,
                top_p: self.rollouts.top_p,
                most_tokens: policy.most_target_tokens(policy.settings().prompt.max_tokens),
                seed: self.run.seed,
                step,
            },
            per_query: self.learner.rollouts_per_query(),
            missing_end_penalty: self.rollouts.missing_end_penalty,
        }
    }
}

impl<L: RolloutLearner> LearningStep for Reinforcement<L> {
    type State = L::State;

    fn batches(&self) -> &EpochBatches {
        &self.batches
    }

    fn updates_per_step(&self) -> u64 {
        self.learner.updates_per_step()
    }

    fn extra_parameters(&self) -> Vec<NamedParameter> {
        self.learner.extra_parameters()
    }

    fn step(&mut self, policy: &Policy, trainer: &mut Trainer, step: u64) -> Result<StepReport> {
        let batch = self.batches.batch(step - 1);
        let queries: Vec<RolloutQuery> =
            batch.into_iter().filter_map(|index| self.queries.get(index).cloned()).collect();
        let experiences = collect(policy, &self.judge, &queries, self.collection(policy, step))?;
        let LearnedStep { mut metrics, kl, distance, update } =
            self.learner.learn(policy, trainer, &experiences, step)?;
        metrics.insert("learning_rate".to_owned(), update.learning_rate.into());
        metrics.insert("grad_norm".to_owned(), update.gradient_norm.into());
        metrics.extend(experiences.completion_metrics());
        metrics.extend(experiences.reward_metrics());
        let first_of_epoch = (step - 1).is_multiple_of(self.batches.steps_per_epoch());
        let shown = if first_of_epoch { self.run.evaluation.samples } else { 0 };
        let samples = experiences.samples(&queries, shown);
        let limit = self.rollouts.kl_limit;
        let stop = (limit > 0.0 && kl > limit)
            .then(|| format!("the policy is {distance} away from the reference, the limit is {limit}"));
        Ok(StepReport { metrics, samples, messages: experiences.messages, stop })
    }

    fn state(&self) -> L::State {
        self.learner.state()
    }

    fn restore(&mut self, state: L::State) {
        self.learner.restore(state);
    }
}
