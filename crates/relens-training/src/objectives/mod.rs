//! Objectives: pure functions from tensors to a scalar loss, each with its equation, its source and a gradient.
//!
//! Nothing here knows of models, data or steps; a stage computes embeddings or log-probabilities, calls an
//! objective and differentiates the result.

pub mod contrastive;
pub mod cross_entropy;
pub mod hard_negatives;
pub mod targets;
pub mod temperature;

pub use contrastive::{ContrastiveLoss, ContrastiveObjective, PositiveReduction, contrastive};
pub use cross_entropy::cross_entropy_with_targets;
pub use hard_negatives::{hard_negative_log_weights, max_hinge_triplet};
pub use targets::{ContrastiveTargets, caption_similarity_targets};
