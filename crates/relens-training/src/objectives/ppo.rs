//! The clipped objectives of proximal policy optimization, and the controller of its KL penalty.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::language_modelling::{check_length, constant};
use crate::{Result, TrainingError};

/// The policy's loss and what the log tells of it.
#[derive(Debug, Clone)]
pub struct PolicyLoss {
    /// What to differentiate: `[]`.
    pub loss: Tensor,
    /// Share of the tokens whose ratio was clipped to the loss's loss.
    pub clip_fraction: f64,
    /// Mean of π/π_old.
    pub ratio: f64,
    /// ½·mean (log π − log π_old)², as TRL's `approxkl`.
    pub approximate_kl: f64,
}

/// L_CLIP (Schulman et al. 2017, arXiv 1707.06347, equation 7), to be minimised: the mean over tokens of
/// `max(−A·ρ, −A·clip(ρ, 1 − ε, 1 + ε))` with ρ = π/π_old.
///
/// # Shapes
/// - log_probs: `[tokens]`, under the policy being trained
/// - old_log_probs, advantages: `tokens` many, constants
///
/// # Errors
/// Lengths that differ.
pub fn clipped_policy_loss(
    log_probs: &Tensor,
    old_log_probs: &[f32],
    advantages: &[f32],
    clip_range: f64,
) -> Result<PolicyLoss> {
    const NAME: &str = "clipped_policy_loss";
    let tokens = log_probs.dim(0)?;
    check_length(NAME, "old log-probabilities", tokens, old_log_probs.len())?;
    check_length(NAME, "advantages", tokens, advantages.len())?;
    let difference = (log_probs - constant(old_log_probs)?)?;
    let ratio = difference.exp()?;
    let loss = clipped_token_losses(&ratio, advantages, clip_range)?.mean_all()?;
    let ratios: Vec<f32> = ratio.detach().to_vec1()?;
    let differences: Vec<f32> = difference.detach().to_vec1()?;
    let count = tokens.max(1) as f64;
    let clipped = ratios.iter().zip(advantages).filter(|(ratio, advantage)| {
        let ratio = f64::from(**ratio);
        (**advantage > 0.0 && ratio > 1.0 + clip_range) || (**advantage < 0.0 && ratio < 1.0 - clip_range)
    });
    Ok(PolicyLoss {
        loss,
        clip_fraction: clipped.count() as f64 / count,
        ratio: ratios.iter().map(|&ratio| f64::from(ratio)).sum::<f64>() / count,
        approximate_kl: 0.5 * differences.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / count,
    })
}

/// `max(−A·ρ, −A·clip(ρ))` of every token.
pub(super) fn clipped_token_losses(ratio: &Tensor, advantages: &[f32], clip_range: f64) -> Result<Tensor> {
    let negative: Vec<f32> = advantages.iter().map(|advantage| -advantage).collect();
    let negative = constant(&negative)?;
    let clipped = ratio.maximum(1.0 - clip_range)?.minimum(1.0 + clip_range)?;
    Ok((&negative * ratio)?.maximum(&(&negative * clipped)?)?)
}

/// The clipped value loss (Schulman et al.'s implementation; TRL's `vf_loss`): half the mean over tokens of
/// `max((V − R)², (clip(V, V_old ± ε) − R)²)`.
///
/// # Shapes
/// - values: `[tokens]`
/// - old_values, returns: `tokens` many, constants
///
/// # Errors
/// Lengths that differ.
pub fn clipped_value_loss(
    values: &Tensor,
    old_values: &[f32],
    returns: &[f32],
    clip_range: f64,
) -> Result<Tensor> {
    const NAME: &str = "clipped_value_loss";
    let tokens = values.dim(0)?;
    check_length(NAME, "old values", tokens, old_values.len())?;
    check_length(NAME, "returns", tokens, returns.len())?;
    let old_values = constant(old_values)?;
    let returns = constant(returns)?;
    let lower = (&old_values - clip_range)?;
    let upper = (&old_values + clip_range)?;
    let clipped = values.maximum(&lower)?.minimum(&upper)?;
    let squares = |values: &Tensor| -> Result<Tensor> { Ok((values - &returns)?.sqr()?) };
    Ok((squares(values)?.maximum(&squares(&clipped)?)?.mean_all()? * 0.5)?)
}

/// `1 − Var(R − V) / Var(R)`: 1 for a value head that knows the returns, 0 for one that knows their mean.
pub fn explained_variance(values: &[f32], returns: &[f32]) -> f64 {
    let variance = |numbers: &[f64]| {
        let count = numbers.len().max(1) as f64;
        let mean = numbers.iter().sum::<f64>() / count;
        numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / count
    };
    let targets: Vec<f64> = returns.iter().map(|&value| f64::from(value)).collect();
    let errors: Vec<f64> = returns.iter().zip(values).map(|(r, v)| f64::from(*r) - f64::from(*v)).collect();
    let spread = variance(&targets);
    if spread > 0.0 { 1.0 - variance(&errors) / spread } else { 0.0 }
}

/// The coefficient β of the KL penalty, steered towards a target (Ziegler et al. 2019, arXiv 1909.08593, section 2.2):
/// e = clip(KL/target − 1, −0.2, 0.2), β ← β·(1 + gain·e).
///
/// KL is measured to the reference policy, in nats a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdaptiveKl {
    /// β.
    pub coefficient: f64,
    /// The KL to hold.
    pub target: f64,
    /// How fast β follows, 0.1 in the paper; 0 holds it.
    pub gain: f64,
}

impl AdaptiveKl {
    /// Takes in the mean KL of a batch of rollouts.
    ///
    /// # Errors
    /// A KL that is not finite.
    pub fn update(&mut self, kl: f64) -> Result<()> {
        if !kl.is_finite() {
            return Err(TrainingError::argument("AdaptiveKl::update", "a finite KL", kl.to_string()));
        }
        let error = (kl / self.target - 1.0).clamp(-0.2, 0.2);
        self.coefficient *= 1.0 + self.gain * error;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kl_coefficient_rises_above_the_target_and_falls_below() {
        let mut controller = AdaptiveKl { coefficient: 0.1, target: 6.0, gain: 0.1 };
        controller.update(60.0).unwrap();
        assert!((controller.coefficient - 0.102).abs() < 1e-12);
        controller.update(0.0).unwrap();
        assert!((controller.coefficient - 0.102 * 0.98).abs() < 1e-12);
        controller.update(6.6).unwrap();
        assert!((controller.coefficient - 0.102 * 0.98 * 1.01).abs() < 1e-12);
        assert!(controller.update(f64::NAN).is_err());
    }

    #[test]
    fn explained_variance_is_1_for_the_truth_and_0_for_the_mean() {
        let returns = [1.0, 2.0, 4.0];
        assert_eq!(explained_variance(&returns, &returns), 1.0);
        assert!(explained_variance(&[5.0; 3], &returns).abs() < 1e-9);
        assert_eq!(explained_variance(&[1.0, 2.0], &[3.0, 3.0]), 0.0);
    }
}
