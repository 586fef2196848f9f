//! The feed-forward part of a layer, plain (T5 1.0) or gated (T5 1.1).

use candle_core::Tensor;

use super::T5Config;
use crate::layers::{Dropout, DropoutGenerator, Linear, RmsNorm};
use crate::ops::{self, Activation};
use crate::parameters::Parameters;
use crate::{ModelError, Result};

/// hidden + wo(activation(wi(norm(hidden)))), or with activation(wi_0(x)) ∘ wi_1(x) inside.
#[derive(Debug, Clone)]
pub(super) struct T5FeedForward {
    norm: RmsNorm,
    expand: Linear,
    /// The other factor of a gated part.
    gate: Option<Linear>,
    contract: Linear,
    activation: Activation,
    dropout: Dropout,
}

impl T5FeedForward {
    /// Takes `layer_norm` and `DenseReluDense.*`.
    pub(super) fn load(parameters: &Parameters, config: &T5Config) -> Result<Self> {
        let (width, inner) = (config.d_model, config.d_ff);
        let (activation, gated) = config.activation().map_err(|reason| ModelError::Config {
            path: parameters.weights().path().with_file_name("config.json"),
            reason,
        })?;
        let dense = parameters.pp("DenseReluDense");
        let expand = |name| Linear::load_without_bias(&dense.pp(name), width, inner);
        Ok(Self {
            norm: RmsNorm::load(&parameters.pp("layer_norm"), width, config.layer_norm_epsilon)?,
            expand: expand(if gated { "wi_0" } else { "wi" })?,
            gate: gated.then(|| expand("wi_1")).transpose()?,
            contract: Linear::load_without_bias(&dense.pp("wo"), inner, width)?,
            activation,
            dropout: Dropout::new(config.dropout_rate),
        })
    }

    pub(super) fn detached(&self) -> Self {
        Self {
            norm: self.norm.detached(),
            expand: self.expand.detached(),
            gate: self.gate.as_ref().map(Linear::detached),
            contract: self.contract.detached(),
            ..*self
        }
    }

    pub(super) fn forward(
        &self,
        hidden: &Tensor,
        mut generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        let normed = self.norm.forward(hidden)?;
        let expanded = match &self.gate {
            None => self.expand.forward_activated(&normed, self.activation)?,
            Some(gate) => ops::gated_activation(
                &self.expand.forward(&normed)?,
                &gate.forward(&normed)?,
                self.activation,
            )?,
        };
        let expanded = self.dropout.forward(&expanded, generator.as_deref_mut())?;
        let output = self.dropout.forward(&self.contract.forward(&expanded)?, generator)?;
        Ok((hidden + output)?)
    }
}
