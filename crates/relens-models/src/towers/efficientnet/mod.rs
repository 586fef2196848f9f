//! EfficientNet-Lite (Tan and Le, 2019, in the variant for mobile devices: ReLU6, no squeeze-and-excitation), as
//! timm's `tf_efficientnet_lite0` to `lite4`: the image trunk of the bundled retriever.
//!
//! ```no_run
//! use relens_models::towers::efficientnet::{EfficientNet, EfficientNetConfig};
//! use relens_models::image_preprocessing::{PreprocessConfig, Preprocessor, decode_image};
//! use relens_models::parameters::Parameters;
//! use relens_models::weights::Weights;
//!
//! let parameters = Parameters::frozen(Weights::open("model.safetensors")?);
//! let config = EfficientNetConfig::from_timm_name("tf_efficientnet_lite0")?;
//! let network = EfficientNet::new(config, &parameters)?;
//! let preprocessor = Preprocessor::new(PreprocessConfig::default())?;
//! let features = network.pooled(&preprocessor.batch(&[decode_image("beach.jpg")?])?)?;
//! assert_eq!(features.dims(), [1, 1280]);
//! # Ok::<(), relens_models::ModelError>(())
//! ```
//!
//! Blocks are fused where nothing is trained, and differentiable behind.

mod block;
mod config;
mod fused;

use std::sync::OnceLock;

use candle_core::{Device, Tensor};

use self::block::{InvertedResidual, NormalizedConvolution, pack_pointwise};
use crate::Result;
use crate::ops::arguments::{Elements, contiguous_f32, refuse};
use crate::ops::{mean_pool, relu6};
use crate::parameters::Parameters;

use self::fused::{FusedNetwork, Images};

pub use config::{BlockConfig, EfficientNetConfig};

const IMAGE_CHANNELS: usize = 3;
const STEM_KERNEL: usize = 3;
const STEM_STRIDE: usize = 2;

/// An EfficientNet-Lite without classifier, with timm's names.
///
/// Leading blocks of which nothing is trained run through fused kernels that keep no activations; from the first
/// trainable block on, or wherever the pictures themselves track gradients, differentiable operations take over.
/// Normalisations always use the checkpoint's statistics.
pub struct EfficientNet {
    config: EfficientNetConfig,
    stem: NormalizedConvolution,
    blocks: Vec<InvertedResidual>,
    head: NormalizedConvolution,
    /// How many leading blocks are frozen.
    frozen_blocks: usize,
    fused: OnceLock<FusedNetwork>,
}

impl EfficientNet {
    /// Reads a network of the shape `config`.
    ///
    /// # Errors
    /// [`crate::ModelError`] if the shape is none of the family's, or a tensor is missing or has another shape.
    pub fn new(config: EfficientNetConfig, parameters: &Parameters) -> Result<Self> {
        config.check()?;
        let eps = config.norm_eps;
        let read = |convolution: &str, norm: &str, dims: [usize; 4]| {
            NormalizedConvolution::new(parameters, convolution, norm, dims, eps)
        };
        let stem_dims = [config.stem_channels, IMAGE_CHANNELS, STEM_KERNEL, STEM_KERNEL];
        let stem = read("conv_stem", "bn1", stem_dims)?;
        let head_inputs = config.channels_before(config.blocks.len());
        let head = read("conv_head", "bn2", [config.head_channels, head_inputs, 1, 1])?;
        let block = |block: &BlockConfig| {
            InvertedResidual::new(*block, eps, &parameters.pp("blocks").pp(block.stage).pp(block.position))
        };
        let blocks = config.blocks.iter().map(block).collect::<Result<Vec<_>>>()?;
        let frozen_blocks = match stem.is_trainable() {
            // The first block takes the stem in, so a stem that is trained unfuses everything.
            true => 0,
            false => blocks.iter().take_while(|block| !block.is_trainable()).count(),
        };
        Ok(Self { config, stem, blocks, head, frozen_blocks, fused: OnceLock::new() })
    }

    /// The network's shape.
    #[must_use]
    pub fn config(&self) -> &EfficientNetConfig {
        &self.config
    }

    /// The size of an image's features.
    #[must_use]
    pub fn feature_size(&self) -> usize {
        self.config.head_channels
    }

    /// The number of blocks.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// The head's output, averaged over all positions.
    ///
    /// # Shapes
    /// - `images`: `[batch, height, width, 3]`, normalised
    /// - returns: `[batch, 1280]`
    ///
    /// # Errors
    /// [`crate::ModelError::Argument`] for another shape or type.
    pub fn pooled(&self, images: &Tensor) -> Result<Tensor> {
        let images = check_images(images)?;
        match self.fused_for(&images)?.filter(|fused| fused.has_head()) {
            Some(fused) => {
                let (values, channels) = with_images(&images, |images| fused.pooled(images))?;
                Ok(Tensor::from_vec(values, (images.dim(0)?, channels), &Device::Cpu)?)
            }
            None => self.pooled_from(&self.forward_until(&images, self.blocks.len())?, self.blocks.len()),
        }
    }

    /// The head's output at every position.
    ///
    /// # Shapes
    /// - `images`: `[batch, height, width, 3]`, normalised
    /// - returns: `[batch, ⌈height / 32⌉, ⌈width / 32⌉, 1280]`
    ///
    /// # Errors
    /// As [`Self::pooled`].
    pub fn forward_features(&self, images: &Tensor) -> Result<Tensor> {
        let images = check_images(images)?;
        match self.fused_for(&images)?.filter(|fused| fused.has_head()) {
            Some(fused) => tensor_of(&images, with_images(&images, |p| fused.head_features(p))?),
            None => self.forward_from(&self.forward_until(&images, self.blocks.len())?, self.blocks.len()),
        }
    }

    /// What block `block` reads; at [`Self::block_count`], what the head reads. A training run computes this once
    /// for the blocks that it leaves alone.
    ///
    /// # Shapes
    /// - `images`: `[batch, height, width, 3]`, normalised
    /// - returns: `[batch, rows, columns, channels]`
    ///
    /// # Errors
    /// As [`Self::pooled`], and if there is no such block.
    pub fn forward_until(&self, images: &Tensor, block: usize) -> Result<Tensor> {
        self.check_block(block)?;
        let images = check_images(images)?;
        let fused = self.fused_for(&images)?;
        let fused_blocks = fused.map_or(0, FusedNetwork::block_count).min(block);
        let mut features = match fused {
            Some(fused) if fused_blocks > 0 => {
                tensor_of(&images, with_images(&images, |p| fused.features(p, fused_blocks))?)?
            }
            _ => relu6(&self.stem.dense(&images, STEM_STRIDE)?)?,
        };
        for block in &self.blocks[fused_blocks..block] {
            features = block.forward(&features)?;
        }
        Ok(features)
    }

    /// The head's output at every position, from what block `block` reads. Always differentiable.
    ///
    /// # Shapes
    /// - `features`: `[batch, rows, columns, channels]`, from [`Self::forward_until`] at the same block
    /// - returns: `[batch, rows, columns, 1280]`
    ///
    /// # Errors
    /// [`crate::ModelError::Argument`] for another shape or type, and if there is no such block.
    pub fn forward_from(&self, features: &Tensor, block: usize) -> Result<Tensor> {
        self.check_block(block)?;
        let mut features = contiguous_f32("EfficientNet::forward_from", features)?;
        for block in &self.blocks[block..] {
            features = block.forward(&features)?;
        }
        relu6(&self.head.pointwise(&features)?)
    }

    /// The pooled features, from what block `block` reads. Always differentiable.
    ///
    /// # Shapes
    /// - `features`: `[batch, rows, columns, channels]`, from [`Self::forward_until`] at the same block
    /// - returns: `[batch, 1280]`
    ///
    /// # Errors
    /// As [`Self::forward_from`].
    pub fn pooled_from(&self, features: &Tensor, block: usize) -> Result<Tensor> {
        let features = self.forward_from(features, block)?;
        let (batch, rows, columns, channels) = features.dims4()?;
        let offsets: Vec<usize> = (0..=batch).map(|image| image * rows * columns).collect();
        mean_pool(&features.reshape((batch * rows * columns, channels))?, &offsets)
    }

    /// The fused blocks, if pictures may go through them.
    fn fused_for(&self, images: &Tensor) -> Result<Option<&FusedNetwork>> {
        if self.frozen_blocks == 0 || images.track_op() {
            return Ok(None);
        }
        if let Some(fused) = self.fused.get() {
            return Ok(Some(fused));
        }
        let frozen = &self.blocks[..self.frozen_blocks];
        let blocks = frozen.iter().map(|block| block.fuse(&self.stem)).collect::<Result<_>>()?;
        // The head can only be fused to the end of the last block.
        let whole = self.frozen_blocks == self.blocks.len() && !self.head.is_trainable();
        let head = whole.then(|| pack_pointwise(&self.head)).transpose()?;
        // Two threads may have packed at once; one of the results is kept.
        Ok(Some(self.fused.get_or_init(|| FusedNetwork::new(blocks, head))))
    }

    fn check_block(&self, block: usize) -> Result<()> {
        if block <= self.blocks.len() {
            return Ok(());
        }
        Err(refuse("EfficientNet", format!("a block up to {}", self.blocks.len()), block.to_string()))
    }
}

fn check_images(images: &Tensor) -> Result<Tensor> {
    match images.dims() {
        &[_, height, width, IMAGE_CHANNELS] if height > 0 && width > 0 => {
            contiguous_f32("EfficientNet", images)
        }
        dims => Err(refuse("EfficientNet", "pictures [batch, height, width, 3]", format!("{dims:?}"))),
    }
}

fn with_images<T>(images: &Tensor, compute: impl FnOnce(Images<'_>) -> T) -> Result<T> {
    let (_, height, width, _) = images.dims4()?;
    let elements = Elements::of(images);
    Ok(compute(Images { data: elements.get()?, height, width }))
}

fn tensor_of(images: &Tensor, (values, dims): (Vec<f32>, [usize; 3])) -> Result<Tensor> {
    let [height, width, channels] = dims;
    Ok(Tensor::from_vec(values, (images.dim(0)?, height, width, channels), &Device::Cpu)?)
}
