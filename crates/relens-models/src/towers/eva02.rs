//! EVA-02 (Fang et al., 2023), the image tower of EVA-02-CLIP, in timm's layout.
//!
//! A vision transformer with two-dimensional rotary positions beside the learned ones, SwiGLU feed-forward parts and
//! a norm inside each part before its last map (sub-LN). Attention turns queries and keys by the rotary angles of their patches.

use candle_core::{Device, Tensor};

use crate::layers::{ConcatenatedLinear, LayerNorm, Linear, PatchEmbedding};
use crate::ops::{self, Activation, AttentionConfig, AttentionMask, RotaryLayout};
use crate::parameters::Parameters;
use crate::{ModelError, Result};

/// Added to the variance by all norms.
const EPS: f64 = 1e-6;

/// The sizes of an EVA-02.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Eva02Config {
    /// Side of the square picture in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Width of the hidden states.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads; `width / heads` is a multiple of 4.
    pub heads: usize,
    /// Width inside the feed-forward parts.
    pub feed_forward_width: usize,
    /// Patches along one side of the picture at pre-training, whose rotary angles are stretched over this picture's.
    pub reference_grid: usize,
    /// Width of the classifier, which CLIP uses as its projection; 0 if there is none.
    pub outputs: usize,
}

/// An EVA-02 that pools its class token.
#[derive(Debug, Clone)]
pub struct Eva02 {
    image_size: usize,
    patches: PatchEmbedding,
    class_token: Tensor,
    positions: Tensor,
    rotary: RotaryGrid,
    blocks: Vec<Eva02Block>,
    norm: LayerNorm,
    head: Option<Linear>,
    width: usize,
}

impl Eva02 {
    /// Takes the tensors of timm's `Eva`.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, config: &Eva02Config) -> Result<Self> {
        let width = config.width;
        let grid = config.image_size.checked_div(config.patch_size).unwrap_or(0);
        let tokens = grid.saturating_mul(grid).saturating_add(1);
        let (place, blocks) = (parameters.pp("patch_embed.proj"), parameters.pp("blocks"));
        let head = match config.outputs {
            0 => None,
            outputs => Some(Linear::load(&parameters.pp("head"), width, outputs)?),
        };
        Ok(Self {
            image_size: config.image_size,
            patches: PatchEmbedding::load(&place, width, config.patch_size, true)?,
            class_token: parameters.tensor("cls_token", &[1, 1, width])?,
            positions: parameters.tensor("pos_embed", &[1, tokens, width])?,
            rotary: RotaryGrid::new(
                grid,
                config.reference_grid,
                width.checked_div(config.heads).unwrap_or(0),
            ),
            blocks: (0..config.layers)
                .map(|layer| Eva02Block::load(&blocks.pp(layer), config))
                .collect::<Result<_>>()?,
            norm: LayerNorm::load(&parameters.pp("norm"), width, EPS)?,
            head,
            width: if config.outputs == 0 { width } else { config.outputs },
        })
    }

    /// How many features a picture has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The class token after norm and classifier.
    ///
    /// # Shapes
    /// - `images`: `[images, image_size, image_size, 3]`
    /// - output: `[images, width()]`
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let side = self.image_size;
        let dims = images.dims().to_vec();
        if dims.len() != 4 || dims[1..] != [side, side, 3] {
            return Err(ModelError::Argument {
                operation: "Eva02",
                expected: format!("pictures of shape [images, {side}, {side}, 3]"),
                found: format!("{dims:?}"),
            });
        }
        let (_, tokens, width) = self.positions.dims3()?;
        let class_tokens = self.class_token.broadcast_as((dims[0], 1, width))?.contiguous()?;
        let embedded = Tensor::cat(&[&class_tokens, &self.patches.forward(images)?], 1)?;
        let placed = embedded.broadcast_add(&self.positions)?;
        let mut hidden = placed.reshape((dims[0] * tokens, width))?;
        let offsets: Vec<usize> = (0..=dims[0]).map(|image| image * tokens).collect();
        let angles = self.rotary.repeated(dims[0])?;
        for block in &self.blocks {
            hidden = block.forward(&hidden, &offsets, &angles)?;
        }
        // The norm works row by row, so only the class token's row is normalised.
        let pooled = hidden.reshape((dims[0], tokens, width))?.narrow(1, 0, 1)?.squeeze(1)?;
        let pooled = self.norm.forward(&pooled)?;
        self.head.as_ref().map_or(Ok(pooled.clone()), |head| head.forward(&pooled))
    }
}

/// Attention with rotary positions, then SwiGLU, each normalised before and inside.
#[derive(Debug, Clone)]
struct Eva02Block {
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
    fn load(parameters: &Parameters, config: &Eva02Config) -> Result<Self> {
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
    fn forward(&self, hidden: &Tensor, offsets: &[usize], angles: &RotaryAngles) -> Result<Tensor> {
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
struct RotaryGrid {
    /// Angles of one picture's tokens, the class token first, `pairs` for each.
    angles: Vec<f64>,
    pairs: usize,
}

/// Cosines and sines, each `[images · tokens, pairs]`.
#[derive(Debug, Clone)]
struct RotaryAngles {
    cos: Tensor,
    sin: Tensor,
}

impl RotaryGrid {
    /// `grid` patches along each side, stretched over the `reference` patches of pre-training.
    fn new(grid: usize, reference: usize, head_width: usize) -> Self {
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
    fn repeated(&self, images: usize) -> Result<RotaryAngles> {
        let table = |function: fn(f64) -> f64| -> Result<Tensor> {
            let one: Vec<f32> = self.angles.iter().map(|&angle| function(angle) as f32).collect();
            let tokens = one.len().checked_div(self.pairs).unwrap_or(0);
            Ok(Tensor::from_vec(one.repeat(images), (images * tokens, self.pairs), &Device::Cpu)?)
        };
        Ok(RotaryAngles { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }
}
