//! EVA-02 (Fang et al., 2023), the image tower of EVA-02-CLIP, in timm's layout.
//!
//! A vision transformer with two-dimensional rotary positions beside the learned ones, SwiGLU feed-forward parts and
//! a norm inside each part before its last map (sub-LN).

mod block;

use candle_core::Tensor;

use self::block::{Eva02Block, RotaryGrid};
use crate::layers::{LayerNorm, Linear, PatchEmbedding};
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
