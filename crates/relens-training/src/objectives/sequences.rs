//! What objectives over generated texts share: tokens of several sequences lie one after the other, and `offsets` (one
//! more than there are sequences) says where each begins.

use candle_core::{Device, Tensor};
use relens_models::ops::{embedding, mean_pool};

use crate::{Result, TrainingError};

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
