//! How good the text written so far is expected to become: one number for each token.

use candle_core::{Device, Tensor, Var};
use relens_models::language_model::PromptTargetBatch;
use relens_models::ops::linear;

use crate::Result;
use crate::optimizer::NamedParameter;
use crate::stages::rewriter::Policy;

/// A linear map of the policy's last hidden state, that begins at 0.
#[derive(Debug)]
pub(super) struct ValueHead {
    weight: Var,
    bias: Var,
    trains_policy: bool,
}

impl ValueHead {
    /// A head on states of this width. Unless `trains_policy`, its gradient ends at the states.
    pub(super) fn new(width: usize, trains_policy: bool) -> Result<Self> {
        Ok(Self {
            weight: Var::from_vec(vec![0f32; width], (width, 1), &Device::Cpu)?,
            bias: Var::from_vec(vec![0f32; 1], 1, &Device::Cpu)?,
            trains_policy,
        })
    }

    /// What learns, with a factor on the learning rate.
    pub(super) fn parameters(&self, rate: f64) -> Vec<NamedParameter> {
        [("value_head.weight", &self.weight), ("value_head.bias", &self.bias)]
            .map(|(name, var)| NamedParameter::new(name, var.clone()).with_learning_rate_scale(rate))
            .into()
    }

    /// # Shapes
    /// - hidden: `[tokens, width]`
    /// - output: `[tokens]`
    pub(super) fn values(&self, hidden: &Tensor) -> Result<Tensor> {
        let hidden = if self.trains_policy { hidden.clone() } else { hidden.detach() };
        Ok(linear(&hidden, &self.weight, Some(&self.bias))?.squeeze(1)?)
    }

    /// The values of a batch of rollouts.
    pub(super) fn values_of(&self, policy: &Policy, batch: &PromptTargetBatch) -> Result<Tensor> {
        self.values(&policy.hidden(batch)?)
    }
}
