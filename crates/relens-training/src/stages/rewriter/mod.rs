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
pub(crate) mod reinforcement;
mod rollouts;
mod scoring;
mod validation;

pub use config::{
    FeedbackConfig, OptimizationConfig, PolicyConfig, RewriterConfig, RewriterEvaluation, RewriterMetric,
    RewriterRunConfig, RewritingMethod,
};
pub use plan::Plan;
pub use reinforcement::RolloutConfig;

pub use crate::run::finished_model::{MODEL_DIRECTORY, RunSummary};

pub(crate) use crate::run::stage::StepReport;
pub(crate) use environment::Environment;
pub(crate) use examples::{EpochBatches, Example, encode_pairs, fitting};
pub(crate) use examples::{finite_loss, mean_loss, supervised_gradients, supervised_metrics};
pub(crate) use experience::{Experiences, mean};
pub(crate) use learning::{LearningStep, learn};
pub(crate) use plan::PlanShape;
pub(crate) use policy::{Policy, PolicyPass};
pub(crate) use reinforcement::{LearnedStep, Reinforcement, RolloutLearner};
pub(crate) use rollouts::ReferencePolicy;
pub(crate) use scoring::{score, scored_candidates};
