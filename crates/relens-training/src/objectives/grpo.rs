//! Group relative policy optimization: PPO's clip without a value head.

use candle_core::Tensor;

use super::language_modelling::{check_length, check_offsets, constant, sequence_means};
use super::ppo::clipped_token_losses;
use crate::Result;

/// Constants of a batch of rollouts, all of them one number a token.
#[derive(Debug, Clone, Copy)]
pub struct GroupRollouts<'a> {
    /// log π_old.
    pub old_log_probs: &'a [f32],
    /// log π_ref.
    pub reference_log_probs: &'a [f32],
    /// The advantage of the token's sequence (see [`super::advantages::group_advantages`]).
    pub advantages: &'a [f32],
    /// Where each sequence begins, and the end.
    pub offsets: &'a [usize],
}

/// The loss and what the log tells of it.
#[derive(Debug, Clone)]
pub struct GroupLoss {
    /// What to differentiate: `[]`.
    pub loss: Tensor,
    /// Mean of the estimated KL to the reference over tokens.
    pub kl: f64,
    /// Share of the tokens whose ratio lies outside the clip range.
    pub clip_fraction: f64,
}

/// GRPO (Shao et al. 2024, arXiv 2402.03300, equation 3), to be minimised: the mean over sequences of the mean over
/// tokens of `max(−A·ρ, −A·clip(ρ, 1 − ε, 1 + ε)) + β·KL`, with the estimator
/// `KL = exp(log π_ref − log π) − (log π_ref − log π) − 1` (equation 4; Schulman's k3).
///
/// # Shapes
/// - log_probs: `[tokens]`
///
/// # Errors
/// Lengths that differ.
pub fn group_relative_loss(
    log_probs: &Tensor,
    rollouts: GroupRollouts<'_>,
    clip_range: f64,
    kl_coefficient: f64,
) -> Result<GroupLoss> {
    const NAME: &str = "group_relative_loss";
    let tokens = log_probs.dim(0)?;
    check_length(NAME, "old log-probabilities", tokens, rollouts.old_log_probs.len())?;
    check_length(NAME, "reference log-probabilities", tokens, rollouts.reference_log_probs.len())?;
    check_length(NAME, "advantages", tokens, rollouts.advantages.len())?;
    check_offsets(NAME, tokens, rollouts.offsets)?;
    let ratio = (log_probs - constant(rollouts.old_log_probs)?)?.exp()?;
    let policy = clipped_token_losses(&ratio, rollouts.advantages, clip_range)?;
    let difference = (constant(rollouts.reference_log_probs)? - log_probs)?;
    let kl = ((difference.exp()? - &difference)? - 1.0)?;
    let per_token = (policy + (&kl * kl_coefficient)?)?;
    let loss = sequence_means(&per_token, rollouts.offsets)?.mean_all()?;
    let ratios: Vec<f32> = ratio.detach().to_vec1()?;
    let outside = ratios.iter().filter(|ratio| (f64::from(**ratio) - 1.0).abs() > clip_range).count();
    Ok(GroupLoss {
        loss,
        kl: f64::from(kl.detach().mean_all()?.to_scalar::<f32>()?),
        clip_fraction: outside as f64 / tokens.max(1) as f64,
    })
}
