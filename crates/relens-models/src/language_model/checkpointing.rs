//! Gradient checkpointing: layers whose insides are not kept for the way back, but computed again.
//!
//! Training remembers every intermediate result of every layer until the gradient has passed through it. A
//! checkpointed pass remembers what goes into each layer only; on the way back one layer at a time is computed again.
//! Memory falls from all layers' insides to those of one, for one more forward pass. Source: Chen et al., 2016,
//! "Training Deep Nets with Sublinear Memory Cost".

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::{ModelError, Result};

/// A teacher-forced pass of which the inputs of the layers were kept.
///
/// A loss is computed on [`CheckpointedPass::hidden`] and differentiated as always; [`CheckpointedPass::backward`] then
/// takes the gradient through the layers.
pub trait CheckpointedPass {
    /// The hidden state that predicts each target token, `[total_target_tokens, width]`.
    fn hidden(&self) -> &Tensor;

    /// Adds the gradients of `variables` to those in `store`, which came from the loss.
    ///
    /// # Errors
    /// The gradient of the hidden states is missing: the loss does not depend on them.
    fn backward(&self, store: &mut GradStore, variables: &[Var]) -> Result<()>;
}

/// Gradients on their way back.
pub(crate) struct WayBack<'a> {
    pub(crate) store: &'a mut GradStore,
    pub(crate) variables: &'a [Var],
}

impl WayBack<'_> {
    /// Computes `output` again from `inputs` and takes `gradient`, that of the output, through it: gradients of
    /// variables are added to the store, those of the inputs returned.
    pub(crate) fn through<const N: usize>(
        &mut self,
        inputs: [&Tensor; N],
        gradient: &Tensor,
        output: impl FnOnce(&[Tensor; N]) -> Result<Tensor>,
    ) -> Result<Vec<Tensor>> {
        // The inputs become leaves: the tape of this layer ends there, and is freed before the next one is made.
        let leaves = inputs.into_iter().map(Var::from_tensor).collect::<Result<Vec<_>, _>>()?;
        let tensors = std::array::from_fn(|place| leaves[place].as_tensor().clone());
        // The gradient of Σ output · gradient with respect to the output is the gradient.
        let mut found = (output(&tensors)? * gradient)?.sum_all()?.backward()?;
        for variable in self.variables {
            if let Some(part) = found.remove(variable) {
                let part = part.detach();
                // A variable may be used by several layers (tied tables, shared biases): its gradients add up,
                // detached, so that no tape outlives its layer.
                let sum = match self.store.remove(variable) {
                    Some(before) => (before + part)?.detach(),
                    None => part,
                };
                self.store.insert(variable, sum);
            }
        }
        let of_leaf = |leaf: &Var| match found.remove(leaf) {
            Some(gradient) => Ok(gradient.detach()),
            None => Ok(leaf.as_tensor().zeros_like()?),
        };
        leaves.iter().map(of_leaf).collect()
    }
}

/// The loss does not depend on the hidden states.
pub(crate) fn missing_gradient(operation: &'static str) -> ModelError {
    let (expected, found) = ("a loss of the hidden states".to_owned(), "no gradient".to_owned());
    ModelError::Argument { operation, expected, found }
}
