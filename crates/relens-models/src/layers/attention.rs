//! Multi-head attention over packed sequences: of a sequence to itself, and of a few queries to it.

use candle_core::Tensor;

use super::{ConcatenatedLinear, Dropout, DropoutGenerator, Linear};
use crate::Result;
use crate::ops::{self, AttentionConfig, AttentionMask};

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

/// Multi-head attention whose queries come from elsewhere than its keys and values.
#[derive(Debug, Clone)]
pub struct CrossAttention {
    query: Linear,
    key_value: ConcatenatedLinear,
    output: Linear,
    heads: usize,
}

impl CrossAttention {
    /// `query` makes the queries; `key` and `value` look at the sequence; `output` projects what the heads gathered.
    ///
    /// # Errors
    /// When `key` and `value` do not fit each other.
    pub fn new(query: Linear, key: Linear, value: Linear, output: Linear, heads: usize) -> Result<Self> {
        Ok(Self { query, key_value: ConcatenatedLinear::new(vec![key, value])?, output, heads })
    }

    /// One pooled row for every row of `queries`, of which each sequence has the same number.
    ///
    /// # Shapes
    /// - `queries`: `[batch · queries, query_width]`
    /// - `context`: `[total_tokens, context_width]`
    /// - `offsets`: `batch + 1` many, ascending from 0 to `total_tokens`
    /// - output: `[batch · queries, output_width]`
    ///
    /// # Errors
    /// When the shapes or the offsets do not fit.
    pub fn forward(&self, queries: &Tensor, context: &Tensor, offsets: &[usize]) -> Result<Tensor> {
        let batch = offsets.len().saturating_sub(1);
        let rows = queries.dim(0)?;
        let each = rows.checked_div(batch).unwrap_or(0);
        // Every sequence has as many queries, so their offsets need not be passed.
        let query_offsets: Vec<usize> = (0..=batch).map(|sequence| sequence * each).collect();
        let projected = self.key_value.forward(context)?;
        let width = projected.dim(1)? / 2;
        let (key, value) = (projected.narrow(1, 0, width)?, projected.narrow(1, width, width)?);
        let config = AttentionConfig::new(self.heads, AttentionMask::None);
        let query = self.query.forward(queries)?;
        let mixed = ops::attention_separate(&query, &key, &value, &query_offsets, offsets, &config)?;
        self.output.forward(&mixed)
    }
}
