//! A block of EVA-02.

use candle_core::Tensor;

use super::rotary_grid::RotaryAngles;
use super::{EPS, Eva02Config};
use crate::Result;
use crate::layers::{ConcatenatedLinear, LayerNorm, Linear};
use crate::ops::{self, Activation, AttentionConfig, AttentionMask, RotaryLayout};
use crate::parameters::Parameters;

/// Attention with rotary positions, then SwiGLU, each normalised before and inside.
#[derive(Debug, Clone)]
pub(super) struct Eva02Block {
    attention_norm: LayerNorm,
    query_key_value: ConcatenatedLinear,
    attention_inner_norm: LayerNorm,
    attention_output: Linear,
    feed_forward_norm: LayerNorm,
    gate: Linear,
    value: Linear,
    feed_forward_inner_norm: LayerNorm,
    contract: Linear,
    attention: AttentionConfig,
}

impl Eva02Block {
    pub(super) fn load(parameters: &Parameters, config: &Eva02Config) -> Result<Self> {
        let (width, inner) = (config.width, config.feed_forward_width);
        let (attention, feed_forward) = (parameters.pp("attn"), parameters.pp("mlp"));
        // Keys have no bias: the softmax would not see it.
        let no_bias = Tensor::zeros(width, candle_core::DType::F32, &candle_core::Device::Cpu)?;
        let projections = vec![
            Linear::load(&attention.pp("q_proj"), width, width)?,
            Linear::load_without_bias(&attention.pp("k_proj"), width, width)?.with_bias(no_bias),
            Linear::load(&attention.pp("v_proj"), width, width)?,
        ];
        Ok(Self {
            attention_norm: LayerNorm::load(&parameters.pp("norm1"), width, EPS)?,
            query_key_value: ConcatenatedLinear::new(projections)?,
            attention_inner_norm: LayerNorm::load(&attention.pp("norm"), width, EPS)?,
            attention_output: Linear::load(&attention.pp("proj"), width, width)?,
            feed_forward_norm: LayerNorm::load(&parameters.pp("norm2"), width, EPS)?,
            gate: Linear::load(&feed_forward.pp("fc1_g"), width, inner)?,
            value: Linear::load(&feed_forward.pp("fc1_x"), width, inner)?,
            feed_forward_inner_norm: LayerNorm::load(&feed_forward.pp("norm"), inner, EPS)?,
            contract: Linear::load(&feed_forward.pp("fc2"), inner, width)?,
            attention: AttentionConfig::new(config.heads, AttentionMask::None),
        })
    }

    /// `[images · tokens, width]` to the same.
    pub(super) fn forward(
        &self,
        hidden: &Tensor,
        offsets: &[usize],
        angles: &RotaryAngles,
    ) -> Result<Tensor> {
        let attended = self.attend(&self.attention_norm.forward(hidden)?, offsets, angles)?;
        let hidden = self.attention_output.forward_onto(hidden, &attended)?;
        let normalised = self.feed_forward_norm.forward(&hidden)?;
        let (gate, value) = (self.gate.forward(&normalised)?, self.value.forward(&normalised)?);
        let gated = ops::gated_activation(&gate, &value, Activation::Silu)?;
        self.contract.forward_onto(&hidden, &self.feed_forward_inner_norm.forward(&gated)?)
    }

    fn attend(&self, hidden: &Tensor, offsets: &[usize], angles: &RotaryAngles) -> Result<Tensor> {
        let projected = self.query_key_value.forward(hidden)?;
        let (rows, width) = hidden.dims2()?;
        let heads = self.attention.heads;
        // Queries and keys lie side by side, and turn alike: one pass over both.
        let turning =
            projected.narrow(1, 0, 2 * width)?.contiguous()?.reshape((rows, 2 * heads, width / heads))?;
        let turned = ops::rotary(&turning, &angles.cos, &angles.sin, RotaryLayout::Interleaved)?;
        let turned = turned.reshape((rows, 2 * width))?;
        let attended = ops::attention_separate(
            &turned.narrow(1, 0, width)?,
            &turned.narrow(1, width, width)?,
            &projected.narrow(1, 2 * width, width)?,
            offsets,
            offsets,
            &self.attention,
        )?;
        self.attention_inner_norm.forward(&attended)
    }
}
