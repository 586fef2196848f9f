//! A block of EVA-02, and the rotary angles of the patches that its attention turns by.

use candle_core::{Device, Tensor};

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

/// The base of the frequencies.
const TEMPERATURE: f64 = 10_000.0;

/// Half of a head's pairs turn with the patch's row, half with its column; the class token does not turn.
#[derive(Debug, Clone)]
pub(super) struct RotaryGrid {
    /// Angles of one picture's tokens, the class token first, `pairs` for each.
    angles: Vec<f64>,
    pairs: usize,
}

/// Cosines and sines, each `[images · tokens, pairs]`.
#[derive(Debug, Clone)]
pub(super) struct RotaryAngles {
    pub(super) cos: Tensor,
    pub(super) sin: Tensor,
}

impl RotaryGrid {
    /// `grid` patches along each side, stretched over the `reference` patches of pre-training.
    pub(super) fn new(grid: usize, reference: usize, head_width: usize) -> Self {
        let bands = head_width / 4;
        let frequencies: Vec<f64> =
            (0..bands).map(|band| TEMPERATURE.powf(-(band as f64) / bands as f64)).collect();
        // A finer grid is squeezed into the range of positions that pre-training saw.
        let place = |patch: usize| patch as f64 / grid as f64 * reference as f64;
        // The class token comes first and does not turn.
        let mut angles = vec![0.0; 2 * bands];
        for row in 0..grid {
            for column in 0..grid {
                angles.extend(frequencies.iter().map(|frequency| place(row) * frequency));
                angles.extend(frequencies.iter().map(|frequency| place(column) * frequency));
            }
        }
        Self { angles, pairs: 2 * bands }
    }

    /// The same angles for every picture.
    pub(super) fn repeated(&self, images: usize) -> Result<RotaryAngles> {
        let table = |function: fn(f64) -> f64| -> Result<Tensor> {
            let one: Vec<f32> = self.angles.iter().map(|&angle| function(angle) as f32).collect();
            let tokens = one.len().checked_div(self.pairs).unwrap_or(0);
            Ok(Tensor::from_vec(one.repeat(images), (images * tokens, self.pairs), &Device::Cpu)?)
        };
        Ok(RotaryAngles { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }
}
