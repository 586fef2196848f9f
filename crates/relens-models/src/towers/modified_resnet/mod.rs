//! CLIP's modified ResNet (Radford et al., 2021): RN50, RN101 and their larger relatives.
//!
//! It differs from a plain ResNet in a stem of three convolutions, in strides that are average pools before the
//! convolutions (anti-aliasing), and in attention instead of a mean at the end.

mod blocks;
mod fused;

use std::sync::{Arc, OnceLock};

use candle_core::{Device, Tensor};

use self::blocks::{AttentionPool, Bottleneck};
use self::blocks::{FoldedConvolution, average_pool};
use self::fused::FusedTrunk;
use crate::ops::TensorElements;
use crate::ops::arguments::contiguous_f32;
use crate::parameters::Parameters;
use crate::{ModelError, Result};

/// Output channels of a block for each of its inner channels.
const EXPANSION: usize = 4;

/// How much smaller the last feature map is than the picture.
const TOTAL_STRIDE: usize = 32;

/// The sizes of a modified ResNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModifiedResNetConfig {
    /// Side of the square picture in pixels.
    pub image_size: usize,
    /// Channels after the stem; 64 for RN50 and RN101.
    pub width: usize,
    /// Blocks of each stage; 3, 4, 6, 3 for RN50.
    pub layers: [usize; 4],
    /// Heads of the attention pool; a divisor of 32 × `width`.
    pub heads: usize,
    /// Width of the result: the shared space's.
    pub outputs: usize,
}

/// A modified ResNet with its attention pool, which ends in the shared space.
#[derive(Debug, Clone)]
pub struct ModifiedResNet {
    image_size: usize,
    stem: [FoldedConvolution; 3],
    blocks: Vec<Bottleneck>,
    pool: AttentionPool,
    fused: Arc<OnceLock<FusedTrunk>>,
}

impl ModifiedResNet {
    /// Takes the tensors of open_clip's `ModifiedResNet`.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, not finite, or a variance is negative.
    pub fn load(parameters: &Parameters, config: &ModifiedResNetConfig) -> Result<Self> {
        let width = config.width;
        let stem = |index: usize, inputs: usize, outputs: usize| {
            let names = (format!("conv{index}"), format!("bn{index}"));
            FoldedConvolution::load(parameters, (&names.0, &names.1), (inputs, outputs), 3)
        };
        let mut blocks = Vec::new();
        let mut inputs = width;
        for (stage, &count) in config.layers.iter().enumerate() {
            let place = parameters.pp(format!("layer{}", stage + 1));
            let inner = width << stage;
            for block in 0..count {
                // The stem has made the image smaller already, so the first stage keeps its size.
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                blocks.push(Bottleneck::load(&place.pp(block), inputs, inner, stride)?);
                inputs = inner * EXPANSION;
            }
        }
        Ok(Self {
            image_size: config.image_size,
            stem: [stem(1, 3, width / 2)?, stem(2, width / 2, width / 2)?, stem(3, width / 2, width)?],
            blocks,
            pool: AttentionPool::load(&parameters.pp("attnpool"), config, inputs)?,
            fused: Arc::default(),
        })
    }

    /// Pictures in the shared space.
    ///
    /// # Shapes
    /// - `images`: `[images, image_size, image_size, 3]`
    /// - output: `[images, outputs]`
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let side = self.image_size;
        if images.dims().len() != 4 || images.dims()[1..] != [side, side, 3] {
            return Err(ModelError::Argument {
                operation: "ModifiedResNet",
                expected: format!("pictures of shape [images, {side}, {side}, 3]"),
                found: format!("{:?}", images.dims()),
            });
        }
        match self.fused_for(images)? {
            Some(trunk) => {
                let images = contiguous_f32("ModifiedResNet", images)?;
                let (features, channels) = trunk.features(TensorElements::of(&images).get()?, side);
                let side = final_side(side);
                let shape = (images.dim(0)?, side, side, channels);
                self.pool.forward(&Tensor::from_vec(features, shape, &Device::Cpu)?)
            }
            None => self.pool.forward(&run_layers(&self.stem, &self.blocks, images)?),
        }
    }

    /// The fused trunk, if pictures may go through it: nothing in it or before it asks for gradients.
    fn fused_for(&self, images: &Tensor) -> Result<Option<&FusedTrunk>> {
        let trainable = self.stem.iter().any(FoldedConvolution::is_trainable)
            || self.blocks.iter().any(Bottleneck::is_trainable);
        if images.track_op() || trainable {
            return Ok(None);
        }
        if let Some(trunk) = self.fused.get() {
            return Ok(Some(trunk));
        }
        let trunk = FusedTrunk::new(self.stem.each_ref(), &self.blocks)?;
        Ok(Some(self.fused.get_or_init(|| trunk)))
    }
}

/// The trunk layer by layer, which gradients can follow.
fn run_layers(stem: &[FoldedConvolution; 3], blocks: &[Bottleneck], images: &Tensor) -> Result<Tensor> {
    let [first, second, third] = stem;
    let mut x = first.forward(images, 2)?.relu()?;
    x = second.forward(&x, 1)?.relu()?;
    x = third.forward(&x, 1)?.relu()?;
    x = average_pool(&x, 2)?;
    for block in blocks {
        x = block.forward(&x)?;
    }
    Ok(x)
}

/// Side of the last feature map.
fn final_side(image_size: usize) -> usize {
    image_size / TOTAL_STRIDE
}
