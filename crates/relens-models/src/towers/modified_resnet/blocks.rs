//! The block of a modified ResNet, and the attention at its end.

use candle_core::Tensor;

use super::convolution::{FoldedConvolution, average_pool};
use super::fused::{Convolution, FusedBottleneck};
use super::{EXPANSION, ModifiedResNetConfig, final_side};
use crate::Result;
use crate::layers::{CrossAttention, Linear};
use crate::parameters::{LinearStorage, Parameters};

/// 1×1, 3×3, 1×1 convolutions beside a shortcut; a stride is an average pool before the last convolution.
#[derive(Debug, Clone)]
pub(super) struct Bottleneck {
    reduce: FoldedConvolution,
    spatial: FoldedConvolution,
    expand: FoldedConvolution,
    shortcut: Option<FoldedConvolution>,
    stride: usize,
}

impl Bottleneck {
    pub(super) fn load(parameters: &Parameters, inputs: usize, inner: usize, stride: usize) -> Result<Self> {
        let outputs = inner * EXPANSION;
        let load = |names, sizes, kernel| FoldedConvolution::load(parameters, names, sizes, kernel);
        let shortcut = if stride > 1 || inputs != outputs {
            Some(load(("downsample.0", "downsample.1"), (inputs, outputs), 1)?)
        } else {
            None
        };
        Ok(Self {
            reduce: load(("conv1", "bn1"), (inputs, inner), 1)?,
            spatial: load(("conv2", "bn2"), (inner, inner), 3)?,
            expand: load(("conv3", "bn3"), (inner, outputs), 1)?,
            shortcut,
            stride,
        })
    }

    /// Puts a block together.
    #[cfg(test)]
    pub(super) fn from_parts(
        reduce: FoldedConvolution,
        spatial: FoldedConvolution,
        expand: FoldedConvolution,
        shortcut: Option<FoldedConvolution>,
        stride: usize,
    ) -> Self {
        Self { reduce, spatial, expand, shortcut, stride }
    }

    /// Whether training moves any of it.
    pub(super) fn is_trainable(&self) -> bool {
        let parts = [Some(&self.reduce), Some(&self.spatial), Some(&self.expand), self.shortcut.as_ref()];
        parts.into_iter().flatten().any(FoldedConvolution::is_trainable)
    }

    /// The same block for inference.
    pub(super) fn fuse(&self) -> Result<FusedBottleneck> {
        Ok(FusedBottleneck {
            reduce: Convolution::new(&self.reduce)?,
            spatial: Convolution::new(&self.spatial)?,
            expand: Convolution::new(&self.expand)?,
            shortcut: self.shortcut.as_ref().map(Convolution::new).transpose()?,
            stride: self.stride,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let reduced = self.reduce.forward(x, 1)?.relu()?;
        let convolved = self.spatial.forward(&reduced, 1)?.relu()?;
        // CLIP's departure from ResNet: the stride is a mean before the 1×1 convolution, on both branches.
        let expanded = self.expand.forward(&average_pool(&convolved, self.stride)?, 1)?;
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(&average_pool(x, self.stride)?, 1)?,
            None => x.clone(),
        };
        Ok((expanded + shortcut)?.relu()?)
    }
}

/// The mean of all places attends to the places and to itself; positions are learned.
#[derive(Debug, Clone)]
pub(super) struct AttentionPool {
    positions: Tensor,
    attention: CrossAttention,
}

impl AttentionPool {
    pub(super) fn load(parameters: &Parameters, config: &ModifiedResNetConfig, width: usize) -> Result<Self> {
        let places = final_side(config.image_size).pow(2) + 1;
        // The convolutions before it are not rounded either.
        let parameters = &parameters.clone().with_storage(LinearStorage::AsStored);
        let linear = |name: &str, outputs: usize| Linear::load(&parameters.pp(name), width, outputs);
        Ok(Self {
            positions: parameters.tensor("positional_embedding", &[places, width])?,
            attention: CrossAttention::new(
                linear("q_proj", width)?,
                linear("k_proj", width)?,
                linear("v_proj", width)?,
                linear("c_proj", config.outputs)?,
                config.heads,
            )?,
        })
    }

    /// `[images, height, width, channels]` to `[images, outputs]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (images, height, columns, width) = x.dims4()?;
        let places = x.reshape((images, height * columns, width))?;
        let tokens = Tensor::cat(&[&places.mean_keepdim(1)?, &places], 1)?.broadcast_add(&self.positions)?;
        // Only the mean asks: CLIP throws the other outputs of this attention away.
        let means = tokens.narrow(1, 0, 1)?.squeeze(1)?;
        let count = height * columns + 1;
        let offsets: Vec<usize> = (0..=images).map(|image| image * count).collect();
        self.attention.forward(&means, &tokens.reshape((images * count, width))?, &offsets)
    }
}
