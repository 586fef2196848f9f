//! The gated feed-forward part (Shazeer, 2020).

use candle_core::Tensor;

use super::config::LlamaConfig;
use crate::Result;
use crate::layers::{ConcatenatedLinear, Linear};
use crate::ops::{self, Activation};
use crate::parameters::Parameters;

/// contract(activation(gate(x)) ∘ expand(x))
#[derive(Debug, Clone)]
pub(super) struct GatedFeedForward {
    gate_and_expand: ConcatenatedLinear,
    contract: Linear,
    activation: Activation,
}

impl GatedFeedForward {
    pub(super) fn load(parameters: &Parameters, config: &LlamaConfig) -> Result<Self> {
        let (width, inner, bias) = (config.width, config.feed_forward_width, config.feed_forward_bias);
        let map = |name, inputs, outputs| Linear::load_biased(&parameters.pp(name), inputs, outputs, bias);
        Ok(Self {
            gate_and_expand: ConcatenatedLinear::new(vec![
                map("gate_proj", width, inner)?,
                map("up_proj", width, inner)?,
            ])?,
            contract: map("down_proj", inner, width)?,
            activation: config.activation,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let both = self.gate_and_expand.forward(x)?;
        let inner = both.dim(1)? / 2;
        let (gate, expanded) = (both.narrow(1, 0, inner)?, both.narrow(1, inner, inner)?);
        self.contract.forward(&ops::gated_activation(&gate, &expanded, self.activation)?)
    }

    /// The same without gradients, as it is at this moment.
    pub(super) fn detached(&self) -> Result<Self> {
        let gate_and_expand = self.gate_and_expand.detached()?;
        Ok(Self { gate_and_expand, contract: self.contract.detached(), activation: self.activation })
    }
}
