//! Cross-entropy of a language model's next tokens, with a mask on the targets.

use candle_core::{Device, Tensor};
use relens_models::ops::{embedding, log_softmax_last_dim, mean_pool, target_log_probs};

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

/// The mean of every sequence's tokens: length-normalised log-probabilities, `(1/|y|) Σ_t log π(y_t | y_<t, x)`.
///
/// # Shapes
/// - per_token: `[total_tokens]`
/// - output: `[sequences]`
///
/// # Errors
/// An empty sequence, or offsets that do not cover the tokens.
pub fn sequence_means(per_token: &Tensor, offsets: &[usize]) -> Result<Tensor> {
    Ok(mean_pool(&per_token.unsqueeze(1)?, offsets)?.squeeze(1)?)
}

/// The sum of every sequence's numbers.
///
/// # Errors
/// Offsets that do not cover the numbers.
pub fn sequence_sums(per_token: &[f32], offsets: &[usize]) -> Result<Vec<f32>> {
    check_offsets("sequence_sums", per_token.len(), offsets)?;
    Ok(offsets.windows(2).map(|span| per_token[span[0]..span[1]].iter().sum()).collect())
}

/// Elements of a vector by position, differentiably; a position may come several times.
///
/// # Shapes
/// - values: `[n]`
/// - output: `[positions]`
pub(super) fn gather(values: &Tensor, positions: &[u32]) -> Result<Tensor> {
    Ok(embedding(&values.unsqueeze(1)?, positions)?.squeeze(1)?)
}

/// A constant vector.
pub(super) fn constant(values: &[f32]) -> Result<Tensor> {
    Ok(Tensor::from_slice(values, values.len(), &Device::Cpu)?)
}

/// Refuses offsets that do not go from 0 to `total` without going back.
pub(super) fn check_offsets(operation: &'static str, total: usize, offsets: &[usize]) -> Result<()> {
    let ordered = offsets.windows(2).all(|span| span[0] <= span[1]);
    if ordered && offsets.first() == Some(&0) && offsets.last() == Some(&total) {
        return Ok(());
    }
    Err(TrainingError::argument(
        operation,
        format!("ascending offsets from 0 to {total}"),
        format!("{offsets:?}"),
    ))
}

/// Refuses a vector of another length.
pub(super) fn check_length(operation: &'static str, what: &str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(TrainingError::argument(operation, format!("{expected} {what}"), found.to_string()))
}
