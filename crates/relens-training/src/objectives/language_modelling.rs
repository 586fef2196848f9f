//! Cross-entropy of a language model's next tokens, with a mask on the targets.

use candle_core::Tensor;
use relens_models::ops::{log_softmax_last_dim, target_log_probs};

use super::sequences::{check_length, constant};
use crate::{Result, TrainingError};

/// Mean over unmasked tokens of `−(1 − ε)·log π(y_t | y_<t, x) − (ε/V)·Σ_v log π(v | y_<t, x)`.
///
/// With ε = 0 this is L_SFT of EvdCLIP (equation 4) and of MGQRe; label smoothing is Szegedy et al. 2016.
///
/// # Shapes
/// - logits: `[tokens, vocabulary]`
/// - targets: `tokens` many
/// - mask: `tokens` many, true where the token counts
/// - output: `[]`
///
/// # Errors
/// Lengths that differ, a target outside the vocabulary, a mask that leaves nothing, ε outside `[0, 1)`.
pub fn masked_cross_entropy(
    logits: &Tensor,
    targets: &[u32],
    mask: &[bool],
    label_smoothing: f64,
) -> Result<Tensor> {
    const NAME: &str = "masked_cross_entropy";
    check_length(NAME, "targets", logits.dim(0)?, targets.len())?;
    check_length(NAME, "mask entries", targets.len(), mask.len())?;
    let counted = mask.iter().filter(|&&counts| counts).count();
    if counted == 0 {
        return Err(TrainingError::argument(
            NAME,
            "at least one target that counts",
            "a mask of false alone",
        ));
    }
    if !(0.0..1.0).contains(&label_smoothing) {
        return Err(TrainingError::setting("label_smoothing", "in [0, 1)", &label_smoothing));
    }
    let share: Vec<f32> =
        mask.iter().map(|&counts| if counts { 1.0 / counted as f32 } else { 0.0 }).collect();
    let share = constant(&share)?;
    let likelihood = (target_log_probs(logits, targets)? * &share)?.sum_all()?;
    if label_smoothing == 0.0 {
        return Ok(likelihood.neg()?);
    }
    let uniform = (log_softmax_last_dim(logits)?.mean(1)? * &share)?.sum_all()?;
    Ok(((likelihood * -(1.0 - label_smoothing))? - (uniform * label_smoothing)?)?)
}

/// Entropy `−Σ_v π(v) log π(v)` of every row, for the log: no gradient flows through it.
///
/// # Shapes
/// - logits: `[tokens, vocabulary]`
/// - output: `tokens` many
///
/// # Errors
/// The logits are not two-dimensional f32.
pub fn entropies(logits: &Tensor) -> Result<Vec<f32>> {
    let log_probs = log_softmax_last_dim(&logits.detach())?;
    Ok((log_probs.exp()? * &log_probs)?.sum(1)?.neg()?.to_vec1()?)
}
