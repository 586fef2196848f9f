//! Causal self-attention with shared key-value heads (Ainslie et al., 2023).

use candle_core::Tensor;

use super::config::{LlamaConfig, Projections};
use crate::Result;
use crate::layers::{ConcatenatedLinear, Linear, RmsNorm};
use crate::ops::{self, AttentionConfig, AttentionMask, RotaryLayout};
use crate::parameters::Parameters;

/// The cosines and sines of every token's angles; none where positions enter by distance.
pub(super) type Angles = Option<(Tensor, Tensor)>;

#[derive(Debug, Clone)]
pub(super) struct CausalAttention {
    projections: ConcatenatedLinear,
    norms: Option<HeadNorms>,
    output: Linear,
    config: AttentionConfig,
    head_dim: usize,
}

/// The norms of each head's queries and keys.
#[derive(Debug, Clone)]
struct HeadNorms {
    query: RmsNorm,
    key: RmsNorm,
}

impl CausalAttention {
    pub(super) fn load(parameters: &Parameters, config: &LlamaConfig) -> Result<Self> {
        let (width, query, key) = (config.width, config.query_width(), config.key_width());
        let map = |name, outputs, bias| Linear::load_biased(&parameters.pp(name), width, outputs, bias);
        let projections = match config.projections {
            Projections::Packed => vec![map("W_pack", query + 2 * key, false)?],
            Projections::Separate { bias } => {
                vec![map("q_proj", query, bias)?, map("k_proj", key, bias)?, map("v_proj", key, bias)?]
            }
        };
        let norm = |name| RmsNorm::load(&parameters.pp(name), config.head_dim, config.norm_eps);
        let norms = match config.query_key_norm {
            true => Some(HeadNorms { query: norm("q_norm")?, key: norm("k_norm")? }),
            false => None,
        };
        let output = &parameters.pp("o_proj");
        Ok(Self {
            projections: ConcatenatedLinear::new(projections)?,
            norms,
            output: Linear::load_biased(output, query, width, config.attention_output_bias)?,
            config: AttentionConfig {
                key_value_heads: config.key_value_heads,
                ..AttentionConfig::new(config.heads, AttentionMask::Causal)
            },
            head_dim: config.head_dim,
        })
    }

    /// The same without gradients, as it is at this moment.
    pub(super) fn detached(&self) -> Result<Self> {
        let detach =
            |norms: &HeadNorms| HeadNorms { query: norms.query.detached(), key: norms.key.detached() };
        Ok(Self {
            projections: self.projections.detached()?,
            norms: self.norms.as_ref().map(detach),
            output: self.output.detached(),
            ..*self
        })
    }

    /// How the projected rows split into heads.
    pub(super) fn config(&self) -> &AttentionConfig {
        &self.config
    }

    /// Queries, keys and values side by side, normalised and rotated: `[total_tokens, width]` to
    /// `[total_tokens, (heads + 2·key_value_heads)·head_dim]`.
    pub(super) fn project(&self, hidden: &Tensor, angles: &Angles) -> Result<Tensor> {
        let mut projected = self.projections.forward(hidden)?;
        if let Some(norms) = &self.norms {
            projected = self.normalize_heads(&projected, norms)?;
        }
        let Some((cos, sin)) = angles else { return Ok(projected) };
        let (tokens, width) = projected.dims2()?;
        let heads = projected.reshape((tokens, width / self.head_dim, self.head_dim))?;
        // Queries and keys lie in front of the values and turn alike: one pass over both, where they stand.
        let rotated = self.config.heads + self.config.key_value_heads;
        let heads = ops::rotary_leading_heads(&heads, cos, sin, RotaryLayout::Halves, rotated)?;
        Ok(heads.reshape((tokens, width))?)
    }

    fn normalize_heads(&self, projected: &Tensor, norms: &HeadNorms) -> Result<Tensor> {
        let tokens = projected.dim(0)?;
        let (heads, shared) = (self.config.heads, self.config.key_value_heads);
        let part = |first: usize, count: usize| {
            let columns = projected.narrow(1, first * self.head_dim, count * self.head_dim)?;
            columns.contiguous()?.reshape((tokens, count, self.head_dim))
        };
        let query = norms.query.forward(&part(0, heads)?)?;
        let key = norms.key.forward(&part(heads, shared)?)?;
        let joined = Tensor::cat(&[query, key, part(heads + shared, shared)?], 1)?;
        Ok(joined.reshape(projected.shape())?)
    }

    /// What the heads gathered, projected back: `[total_tokens, heads·head_dim]` to `[total_tokens, width]`.
    pub(super) fn output(&self, mixed: &Tensor) -> Result<Tensor> {
        self.output.forward(mixed)
    }
}
