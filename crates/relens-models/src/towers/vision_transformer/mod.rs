//! The vision transformer (Dosovitskiy et al., 2021) in the forms that image-text models give it.
//!
//! One network serves CLIP (class token, norm before the blocks), CoCa (attentional pooling), SigLIP (no class token,
//! attention-pooling head) and Chinese-CLIP, in the layouts of open_clip, timm and Hugging Face: a
//! [`VisionTransformerConfig`] holds the sizes, [`VisionTransformerNames`] what a checkpoint calls the tensors.

mod config;
mod pooling;

use candle_core::Tensor;

pub use config::{
    AttentionPoolNames, ImagePooling, PoolProjectionNames, VisionTransformerConfig, VisionTransformerNames,
};

use self::pooling::{Pooling, even_offsets};
use crate::layers::{LayerNorm, PatchEmbedding, PreNormBlock};
use crate::parameters::Parameters;
use crate::{ModelError, Result};

/// A vision transformer with its pooling, without the projection to the shared space.
#[derive(Debug, Clone)]
pub struct VisionTransformer {
    image_size: usize,
    patches: PatchEmbedding,
    class_token: Option<Tensor>,
    positions: Tensor,
    norm_before: Option<LayerNorm>,
    blocks: Vec<PreNormBlock>,
    pooling: Pooling,
    width: usize,
}

impl VisionTransformer {
    /// Takes the tensors that `config.names` lists.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, config: &VisionTransformerConfig) -> Result<Self> {
        let (width, names) = (config.width, config.names);
        let table = |name: &str, shape: &[usize], leading: usize| -> Result<Tensor> {
            let leading = if names.leading_ones { leading } else { 0 };
            // timm stores tables as batches of one.
            let stored: Vec<usize> = [&vec![1; leading], shape].concat();
            Ok(parameters.tensor(name, &stored)?.reshape(shape)?)
        };
        let place = parameters.pp(names.patch_embedding);
        let norm_before =
            config.norm_before.then(|| LayerNorm::load(&parameters.pp(names.norm_before), width, config.eps));
        let blocks = parameters.pp(names.blocks);
        Ok(Self {
            image_size: config.image_size,
            patches: PatchEmbedding::load(&place, width, config.patch_size, config.patch_bias)?,
            class_token: config.class_token.then(|| table(names.class_token, &[width], 2)).transpose()?,
            positions: table(names.positions, &[config.tokens(), width], 1)?,
            norm_before: norm_before.transpose()?,
            blocks: (0..config.layers)
                .map(|layer| PreNormBlock::load(&blocks.pp(layer), &config.block()))
                .collect::<Result<_>>()?,
            pooling: Pooling::load(parameters, config)?,
            width: config.pooled_width(),
        })
    }

    /// How many features a picture has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pooled features.
    ///
    /// # Shapes
    /// - `images`: `[images, image_size, image_size, 3]`
    /// - output: `[images, width()]`
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let side = self.image_size;
        let &[count, height, width, 3] = images.dims() else {
            return Err(wrong_images(side, images));
        };
        if (height, width) != (side, side) {
            return Err(wrong_images(side, images));
        }
        let embedded = self.embed(images, count)?;
        let (_, tokens, width) = embedded.dims3()?;
        let offsets = even_offsets(count, tokens);
        let mut hidden = embedded.reshape((count * tokens, width))?;
        for block in &self.blocks {
            hidden = block.forward(&hidden, &offsets)?;
        }
        self.pooling.forward(&hidden.reshape((count, tokens, width))?)
    }

    /// Patches with their class token and positions: `[images, tokens, width]`.
    fn embed(&self, images: &Tensor, count: usize) -> Result<Tensor> {
        let mut tokens = self.patches.forward(images)?;
        if let Some(class_token) = &self.class_token {
            let width = class_token.dim(0)?;
            let repeated = class_token.reshape((1, 1, width))?.broadcast_as((count, 1, width))?;
            tokens = Tensor::cat(&[&repeated.contiguous()?, &tokens], 1)?;
        }
        let placed = tokens.broadcast_add(&self.positions)?;
        self.norm_before.as_ref().map_or(Ok(placed.clone()), |norm| norm.forward(&placed))
    }
}

fn wrong_images(side: usize, images: &Tensor) -> ModelError {
    ModelError::Argument {
        operation: "VisionTransformer",
        expected: format!("pictures of shape [images, {side}, {side}, 3]"),
        found: format!("{:?}", images.dims()),
    }
}
