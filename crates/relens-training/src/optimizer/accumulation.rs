//! Gradient accumulation: several small batches, one step.

use super::parameters::Gradients;
use crate::Result;

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
