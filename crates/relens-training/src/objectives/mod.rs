//! Objectives: pure functions from tensors to a scalar loss, each with its equation, its source and a gradient.
//!
//! Nothing here knows of models, data or steps; a stage computes embeddings or log-probabilities, calls an
//! objective and differentiates the result.

pub mod advantages;
pub mod contrastive;
pub mod cross_entropy;
pub mod grpo;
pub mod hard_negatives;
pub mod language_modelling;
pub mod ppo;
pub mod pro;
pub mod targets;

pub use advantages::{AdvantageConfig, Advantages, generalized_advantages, group_advantages, whiten};
pub use contrastive::{ContrastiveLoss, ContrastiveObjective, PositiveReduction, contrastive};
pub use cross_entropy::cross_entropy_with_targets;
pub use grpo::{GroupLoss, GroupRollouts, group_relative_loss};
pub use hard_negatives::{hard_negative_log_weights, max_hinge_triplet};
pub use language_modelling::{entropies, masked_cross_entropy, sequence_means, sequence_sums};
pub use ppo::{AdaptiveKl, PolicyLoss, clipped_policy_loss, clipped_value_loss, explained_variance};
pub use pro::{RankedCandidate, RewardStandardization, preference_ranking, rank_candidates};
pub use targets::{ContrastiveTargets, caption_similarity_targets};
