//! Multi-head self-attention over packed sequences.

use candle_core::Tensor;

use super::{ConcatenatedLinear, Dropout, DropoutGenerator, Linear};
use crate::Result;
use crate::ops::{self, AttentionConfig};

/// Projection to queries, keys and values, attention, projection back.
#[derive(Debug, Clone)]
pub struct SelfAttention {
    projections: ConcatenatedLinear,
    output: Linear,
    config: AttentionConfig,
    dropout: Dropout,
}

impl SelfAttention {
    /// `projections` gives queries, keys and values side by side; `dropout` drops attention probabilities.
    pub fn new(
        projections: ConcatenatedLinear,
        output: Linear,
        config: AttentionConfig,
        dropout: Dropout,
    ) -> Self {
        Self { projections, output, config, dropout }
    }

    /// Attends within every sequence; drops probabilities if a generator is given.
    ///
    /// # Shapes
    /// - `hidden`, output: `[total_tokens, width]`
    /// - `offsets`: `batch + 1` many, ascending from 0 to `total_tokens`
    ///
    /// # Errors
    /// When the shapes or the offsets do not fit.
    pub fn forward(
        &self,
        hidden: &Tensor,
        offsets: &[usize],
        generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        let config = AttentionConfig { dropout: self.dropout.mask(generator), ..self.config };
        let mixed = ops::attention(&self.projections.forward(hidden)?, offsets, &config)?;
        self.output.forward(&mixed)
    }

    /// What the heads gather, before the projection back: `mix` turns the projected queries, keys and values,
    /// `[total_tokens, 3·width]`, into `[total_tokens, width]`.
    ///
    /// # Errors
    /// When the shapes do not fit, or `mix` fails.
    pub fn gather(
        &self,
        hidden: &Tensor,
        mix: impl FnOnce(&Tensor, &AttentionConfig) -> Result<Tensor>,
    ) -> Result<Tensor> {
        mix(&self.projections.forward(hidden)?, &self.config)
    }

    /// The projection back.
    pub fn output(&self) -> &Linear {
        &self.output
    }
}
