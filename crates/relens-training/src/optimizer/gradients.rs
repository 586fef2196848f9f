//! What is done to gradients before an update: micro-batches added up, numbers checked, the norm clipped.

use rayon::prelude::*;

use super::{Gradients, NamedParameter, with_values};
use crate::{Result, TrainingError};

/// Elements summed by one task; fixed, so that the sum does not depend on the number of threads.
const CHUNK: usize = 16 * 1024;

/// Lanes of one running sum, so that the compiler can use vector registers without reordering a single sum.
const LANES: usize = 16;

/// The L2 norm of all gradients taken as one vector.
///
/// # Errors
/// The tensor library failed to read a gradient.
pub fn global_norm(gradients: &Gradients) -> Result<f64> {
    let mut total = 0f64;
    for tensor in gradients.tensors() {
        total += with_values(tensor, sum_of_squares)?;
    }
    Ok(total.sqrt())
}

/// Scales the gradients down to `max_norm` if they are longer, like `torch.nn.utils.clip_grad_norm_`; returns them with
/// their norm before clipping. `max_norm` 0 turns clipping off; the check for NaN remains.
///
/// # Errors
/// [`TrainingError::NonFiniteGradient`] with the first parameter that holds NaN or an infinity.
pub fn check_and_clip(
    gradients: &Gradients,
    parameters: &[NamedParameter],
    max_norm: f64,
    step: u64,
) -> Result<(Gradients, f64)> {
    let norm = global_norm(gradients)?;
    if !norm.is_finite() {
        return Err(first_non_finite(gradients, parameters, step)?);
    }
    if max_norm > 0.0 && norm > max_norm {
        return Ok((gradients.scaled(max_norm / (norm + 1e-6))?, norm));
    }
    Ok((gradients.clone(), norm))
}

fn first_non_finite(
    gradients: &Gradients,
    parameters: &[NamedParameter],
    step: u64,
) -> Result<TrainingError> {
    for (tensor, parameter) in gradients.tensors().iter().zip(parameters) {
        let bad = with_values(tensor, |values| {
            values.iter().position(|value| !value.is_finite()).map(|index| (index, values[index]))
        })?;
        if let Some((position, found)) = bad {
            return Ok(TrainingError::NonFiniteGradient {
                step,
                parameter: parameter.name.clone(),
                position,
                found,
            });
        }
    }
    // Every element is finite: squares overflowed f32 lanes. The largest gradient is the one to name.
    Ok(TrainingError::NonFiniteGradient {
        step,
        parameter: "(all together)".into(),
        position: 0,
        found: f32::INFINITY,
    })
}

fn sum_of_squares(values: &[f32]) -> f64 {
    let partial: Vec<f64> = values.par_chunks(CHUNK).map(chunk_sum_of_squares).collect();
    partial.iter().sum()
}

fn chunk_sum_of_squares(values: &[f32]) -> f64 {
    let mut lanes = [0f32; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value * value;
        }
    }
    let rest: f64 = chunks.remainder().iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    rest + lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>()
}

/// Sums the gradients of micro-batches; the mean of equal micro-batches is the gradient of the large batch.
///
/// That holds for losses that are means over examples. A contrastive loss is not (its negatives are the batch):
/// see [`crate::run::gradient_cache`] for that.
#[derive(Debug, Default)]
pub struct GradientAccumulator {
    sum: Option<Gradients>,
    weight: f64,
}

impl GradientAccumulator {
    /// Adds the gradient of a micro-batch's mean loss, weighted by the number of its examples.
    ///
    /// # Errors
    /// The gradients are for other parameters than those added before.
    pub fn add(&mut self, gradients: &Gradients, examples: usize) -> Result<()> {
        let weighted = gradients.scaled(examples as f64)?;
        self.sum = Some(match self.sum.take() {
            None => weighted,
            Some(sum) => Gradients::from_tensors(
                sum.tensors()
                    .iter()
                    .zip(weighted.tensors())
                    .map(|(sum, gradient)| Ok((sum + gradient)?))
                    .collect::<Result<_>>()?,
            ),
        });
        self.weight += examples as f64;
        Ok(())
    }

    /// The mean over all examples added since the last call; `None` if there were none.
    ///
    /// # Errors
    /// The tensor library failed.
    pub fn take(&mut self) -> Result<Option<Gradients>> {
        let weight = std::mem::take(&mut self.weight);
        self.sum.take().map(|sum| sum.scaled(1.0 / weight)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, Var};

    use super::*;

    fn one(values: &[f32]) -> (Gradients, Vec<NamedParameter>) {
        let tensor = Tensor::new(values, &Device::Cpu).unwrap();
        let var = Var::from_tensor(&tensor).unwrap();
        (Gradients::from_tensors(vec![tensor]), vec![NamedParameter::new("head.weight", var)])
    }

    #[test]
    fn long_gradients_are_scaled_to_the_limit_and_short_ones_left_alone() {
        let (gradients, parameters) = one(&[3.0, 4.0]);
        let (clipped, norm) = check_and_clip(&gradients, &parameters, 1.0, 1).unwrap();
        assert!((norm - 5.0).abs() < 1e-6);
        assert!((global_norm(&clipped).unwrap() - 1.0).abs() < 1e-5);
        let (kept, _) = check_and_clip(&gradients, &parameters, 10.0, 1).unwrap();
        assert_eq!(kept.tensors()[0].to_vec1::<f32>().unwrap(), [3.0, 4.0]);
    }

    #[test]
    fn a_nan_names_parameter_step_and_element() {
        let (gradients, parameters) = one(&[1.0, f32::NAN]);
        let error = check_and_clip(&gradients, &parameters, 1.0, 17).unwrap_err().to_string();
        assert!(
            error.contains("step 17") && error.contains("`head.weight`") && error.contains("NaN"),
            "{error}"
        );
        assert!(error.contains("element 1"), "{error}");
    }
}
