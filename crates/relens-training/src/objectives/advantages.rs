//! Advantages: how much better than expected a token turned out.

use super::language_modelling::check_length;
use super::language_modelling::check_offsets;
use crate::Result;

/// Settings of [`generalized_advantages`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdvantageConfig {
    /// γ, the discount of later rewards.
    pub gamma: f64,
    /// λ, the discount of later errors of the value estimate.
    pub lambda: f64,
}

impl Default for AdvantageConfig {
    fn default() -> Self {
        Self { gamma: 1.0, lambda: 0.95 }
    }
}

/// Advantages and what the value estimate should have been.
#[derive(Debug, Clone, PartialEq)]
pub struct Advantages {
    /// A_t, not whitened.
    pub advantages: Vec<f32>,
    /// R_t = A_t + V_t, what the value head is trained to give.
    pub returns: Vec<f32>,
}

/// Generalized advantage estimation (Schulman et al. 2016, arXiv 1506.02438, equations 11 and 16):
/// δ_t = r_t + γ·V_{t+1} − V_t, A_t = δ_t + γ·λ·A_{t+1}, with V = 0 after the last token.
///
/// # Shapes
/// - rewards, values: `total_tokens` many, sequences one after the other
/// - offsets: where each sequence begins, and the end
///
/// # Errors
/// Lengths that differ.
pub fn generalized_advantages(
    rewards: &[f32],
    values: &[f32],
    offsets: &[usize],
    config: AdvantageConfig,
) -> Result<Advantages> {
    const NAME: &str = "generalized_advantages";
    check_length(NAME, "values", rewards.len(), values.len())?;
    check_offsets(NAME, rewards.len(), offsets)?;
    let mut advantages = vec![0.0f32; rewards.len()];
    for span in offsets.windows(2) {
        let (mut next_value, mut next_advantage) = (0.0f64, 0.0f64);
        for token in (span[0]..span[1]).rev() {
            let value = f64::from(values[token]);
            let error = f64::from(rewards[token]) + config.gamma * next_value - value;
            next_advantage = error + config.gamma * config.lambda * next_advantage;
            next_value = value;
            advantages[token] = next_advantage as f32;
        }
    }
    let returns = advantages.iter().zip(values).map(|(advantage, value)| advantage + value).collect();
    Ok(Advantages { advantages, returns })
}

/// Shifts to mean 0 and scales to deviation 1 (the population's, with 1e-8 beside the variance, as TRL's
/// `masked_whiten`).
pub fn whiten(values: &mut [f32]) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    let factor = 1.0 / (variance + 1e-8).sqrt();
    for value in values {
        *value = ((f64::from(*value) - mean) * factor) as f32;
    }
}

/// Advantages within groups of samples of one query (GRPO; Shao et al. 2024, arXiv 2402.03300, section 4.1.2):
/// `(r − mean) / (deviation + 1e-4)`; without `scale`, the mean alone is taken out (Liu et al. 2025, "Dr. GRPO").
///
/// # Errors
/// A number of rewards that is no multiple of the group, or a group below two.
pub fn group_advantages(rewards: &[f32], group: usize, scale: bool) -> Result<Vec<f32>> {
    if group < 2 || !rewards.len().is_multiple_of(group) {
        return Err(crate::TrainingError::argument(
            "group_advantages",
            format!("groups of at least two, {} rewards a multiple of them", rewards.len()),
            format!("groups of {group}"),
        ));
    }
    let mut advantages = Vec::with_capacity(rewards.len());
    for rewards in rewards.chunks_exact(group) {
        let mean = rewards.iter().map(|&reward| f64::from(reward)).sum::<f64>() / group as f64;
        let squares = rewards.iter().map(|&reward| (f64::from(reward) - mean).powi(2)).sum::<f64>();
        // The sample's deviation, as torch.std.
        let deviation = if scale { (squares / (group - 1) as f64).sqrt() + 1e-4 } else { 1.0 };
        advantages.extend(rewards.iter().map(|&reward| ((f64::from(reward) - mean) / deviation) as f32));
    }
    Ok(advantages)
}
