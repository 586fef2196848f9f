//! What all stages of a rewriter share: settings, the policy, the loop, measuring, exporting. Each stage's own step is
//! in its module: [`super::denoise`], [`super::sft`], [`super::pro`], [`super::ppo`], [`super::grpo`].

pub mod config;
mod environment;
mod examples;
mod experience;
mod learning;
mod model_sizes;
pub mod plan;
mod policy;
mod rollouts;
mod scoring;
mod supervised;
mod validation;

pub use config::{
    FeedbackConfig, OptimizationConfig, PolicyConfig, RewriterConfig, RewriterEvaluation, RewriterMetric,
    RewritingMethod,
};
pub use plan::Plan;

pub use crate::run::finished_model::{MODEL_DIRECTORY, RunSummary};

pub(crate) use crate::run::stage::StepReport;
pub(crate) use environment::Environment;
pub(crate) use examples::{EpochBatches, Example, encode_pairs, fitting};
pub(crate) use experience::{Collection, Experiences, RolloutQuery, collect, mean};
pub(crate) use learning::{LearningStep, learn};
pub(crate) use plan::PlanShape;
pub(crate) use policy::{Policy, PolicyPass};
pub(crate) use rollouts::{ReferencePolicy, Sampling, rollout_queries};
pub(crate) use scoring::{score, scored_candidates};
pub(crate) use supervised::{finite_loss, mean_loss, supervised_gradients, supervised_metrics};
