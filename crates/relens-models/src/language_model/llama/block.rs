//! A block: causal self-attention with shared key-value heads (Ainslie et al., 2023), then a gated feed-forward part
//! (Shazeer, 2020), each behind a norm.

use candle_core::Tensor;

use super::config::{LlamaConfig, Projections};
use crate::Result;
use crate::layers::{ConcatenatedLinear, Linear, RmsNorm};
use crate::ops::{self, Activation, AttentionConfig, AttentionMask, RotaryLayout};
use crate::parameters::Parameters;

/// The cosines and sines of every token's angles; none where positions enter by distance.
pub(super) type Angles = Option<(Tensor, Tensor)>;

#[derive(Debug, Clone)]
struct CausalAttention {
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
    fn load(parameters: &Parameters, config: &LlamaConfig) -> Result<Self> {
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
    fn detached(&self) -> Result<Self> {
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
    fn config(&self) -> &AttentionConfig {
        &self.config
    }

    /// Queries, keys and values side by side, normalised and rotated: `[total_tokens, width]` to
    /// `[total_tokens, (heads + 2·key_value_heads)·head_dim]`.
    fn project(&self, hidden: &Tensor, angles: &Angles) -> Result<Tensor> {
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
    fn output(&self, mixed: &Tensor) -> Result<Tensor> {
        self.output.forward(mixed)
    }
}

/// contract(activation(gate(x)) ∘ expand(x))
#[derive(Debug, Clone)]
struct GatedFeedForward {
    gate_and_expand: ConcatenatedLinear,
    contract: Linear,
    activation: Activation,
}

impl GatedFeedForward {
    fn load(parameters: &Parameters, config: &LlamaConfig) -> Result<Self> {
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

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let both = self.gate_and_expand.forward(x)?;
        let inner = both.dim(1)? / 2;
        let (gate, expanded) = (both.narrow(1, 0, inner)?, both.narrow(1, inner, inner)?);
        self.contract.forward(&ops::gated_activation(&gate, &expanded, self.activation)?)
    }

    /// The same without gradients, as it is at this moment.
    fn detached(&self) -> Result<Self> {
        let gate_and_expand = self.gate_and_expand.detached()?;
        Ok(Self { gate_and_expand, contract: self.contract.detached(), activation: self.activation })
    }
}

/// x + attention(norm(x)), then x + feed_forward(norm(x)).
#[derive(Debug, Clone)]
pub(super) struct LlamaBlock {
    attention_norm: RmsNorm,
    attention: CausalAttention,
    feed_forward_norm: RmsNorm,
    feed_forward: GatedFeedForward,
}

impl LlamaBlock {
    pub(super) fn load(parameters: &Parameters, config: &LlamaConfig) -> Result<Self> {
        let norm = |name| RmsNorm::load(&parameters.pp(name), config.width, config.norm_eps);
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            attention: CausalAttention::load(&parameters.pp("self_attn"), config)?,
            feed_forward_norm: norm("post_attention_layernorm")?,
            feed_forward: GatedFeedForward::load(&parameters.pp("mlp"), config)?,
        })
    }

    pub(super) fn detached(&self) -> Result<Self> {
        Ok(Self {
            attention_norm: self.attention_norm.detached(),
            attention: self.attention.detached()?,
            feed_forward_norm: self.feed_forward_norm.detached(),
            feed_forward: self.feed_forward.detached()?,
        })
    }

    pub(super) fn forward(
        &self,
        hidden: &Tensor,
        angles: &Angles,
        mix: impl FnOnce(&Tensor, &AttentionConfig) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let projected = self.attention.project(&self.attention_norm.forward(hidden)?, angles)?;
        let mixed = mix(&projected, self.attention.config())?;
        let hidden = (hidden + self.attention.output(&mixed)?)?;
        let update = self.feed_forward.forward(&self.feed_forward_norm.forward(&hidden)?)?;
        Ok((hidden + update)?)
    }
}
