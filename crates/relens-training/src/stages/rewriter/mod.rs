//! What all stages of a rewriter share: settings, the policy, the loop, measuring, exporting. Each stage's own step is
//! in its module: [`super::denoise`], [`super::sft`], [`super::pro`], [`super::ppo`], [`super::grpo`].

mod batches;
pub mod config;
mod environment;
mod examples;
mod experience;
mod export;
mod learning;
mod model_sizes;
pub mod plan;
mod policy;
mod reference;
mod rollouts;
mod scoring;
mod stage;
mod supervised;
mod validation;

pub use config::{
    EvaluationSettings, OptimizationSettings, PolicySettings, RetrieverSettings, SelectionMetric,
};
pub use plan::Plan;
pub use stage::{RewriterStage, StagePaths};

pub use super::finished_model::{MODEL_DIRECTORY, RunSummary};

pub(crate) use batches::EpochBatches;
pub(crate) use config::StageSettings;
pub(crate) use environment::Environment;
pub(crate) use examples::{Example, encode_pairs, fitting};
pub(crate) use experience::{Collection, Experiences, RolloutQuery, collect, mean};
pub(crate) use learning::{LearningStep, StepReport, learn};
pub(crate) use plan::PlanShape;
pub(crate) use policy::{Policy, PolicyPass};
pub(crate) use reference::{ReferencePolicy, rollout_queries};
pub(crate) use rollouts::Sampling;
pub(crate) use scoring::scored_candidates;
pub(crate) use supervised::{finite_loss, mean_loss, supervised_gradients, supervised_metrics};
