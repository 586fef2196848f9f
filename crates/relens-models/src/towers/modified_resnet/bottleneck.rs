//! The block of a modified ResNet.

use candle_core::Tensor;

use super::EXPANSION;
use super::convolution::{NormalizedConvolution, average_pool};
use super::fused::{Convolution, FusedBottleneck};
use crate::Result;
use crate::parameters::Parameters;

/// 1×1, 3×3, 1×1 convolutions beside a shortcut; a stride is an average pool before the last convolution.
#[derive(Debug, Clone)]
pub(super) struct Bottleneck {
    reduce: NormalizedConvolution,
    spatial: NormalizedConvolution,
    expand: NormalizedConvolution,
    shortcut: Option<NormalizedConvolution>,
    stride: usize,
}

impl Bottleneck {
    pub(super) fn load(parameters: &Parameters, inputs: usize, inner: usize, stride: usize) -> Result<Self> {
        let outputs = inner * EXPANSION;
        let load = |names, sizes, kernel| NormalizedConvolution::load(parameters, names, sizes, kernel);
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
        reduce: NormalizedConvolution,
        spatial: NormalizedConvolution,
        expand: NormalizedConvolution,
        shortcut: Option<NormalizedConvolution>,
        stride: usize,
    ) -> Self {
        Self { reduce, spatial, expand, shortcut, stride }
    }

    /// Whether training moves any of it.
    pub(super) fn is_trainable(&self) -> bool {
        let parts = [Some(&self.reduce), Some(&self.spatial), Some(&self.expand), self.shortcut.as_ref()];
        parts.into_iter().flatten().any(NormalizedConvolution::is_trainable)
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
