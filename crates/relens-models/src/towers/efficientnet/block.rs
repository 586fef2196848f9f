//! The two kinds of block, as differentiable tensor operations.

use candle_core::Tensor;

use super::config::BlockConfig;
use super::convolution::NormalizedConvolution;
use super::fused::{DepthwiseWeights, Expansion, FusedBlock, PackedWeights};
use crate::Result;
use crate::ops::relu6;
use crate::parameters::Parameters;

/// An inverted residual (Sandler et al., 2018): expand, filter each channel, project; or, for the first block, a
/// depthwise separable convolution, which does not expand.
pub(super) struct InvertedResidual {
    config: BlockConfig,
    expansion: Option<NormalizedConvolution>,
    depthwise: NormalizedConvolution,
    projection: NormalizedConvolution,
}

impl InvertedResidual {
    pub(super) fn new(config: BlockConfig, eps: f64, parameters: &Parameters) -> Result<Self> {
        let (inputs, expanded, outputs, kernel) =
            (config.inputs, config.expanded(), config.outputs, config.kernel);
        let read = |convolution: &str, norm: &str, dims: [usize; 4]| {
            NormalizedConvolution::new(parameters, convolution, norm, dims, eps)
        };
        // timm names the parts of the two kinds of block differently, down to the numbers of the norms.
        let (expansion, depthwise, projection) = if config.expansion == 1 {
            let depthwise = read("conv_dw", "bn1", [expanded, 1, kernel, kernel])?;
            (None, depthwise, read("conv_pw", "bn2", [outputs, expanded, 1, 1])?)
        } else {
            let expansion = read("conv_pw", "bn1", [expanded, inputs, 1, 1])?;
            let depthwise = read("conv_dw", "bn2", [expanded, 1, kernel, kernel])?;
            (Some(expansion), depthwise, read("conv_pwl", "bn3", [outputs, expanded, 1, 1])?)
        };
        Ok(Self { config, expansion, depthwise, projection })
    }

    pub(super) fn is_trainable(&self) -> bool {
        let expansion = self.expansion.as_ref().is_some_and(NormalizedConvolution::is_trainable);
        expansion || self.depthwise.is_trainable() || self.projection.is_trainable()
    }

    /// # Shapes
    /// - `x`: `[batch, height, width, inputs]`
    /// - returns: `[batch, ⌈height / stride⌉, ⌈width / stride⌉, outputs]`
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let expanded = match &self.expansion {
            Some(expansion) => relu6(&expansion.pointwise(x)?)?,
            None => x.clone(),
        };
        let filtered = relu6(&self.depthwise.depthwise(&expanded, self.config.stride)?)?;
        let projected = self.projection.pointwise(&filtered)?;
        if self.config.is_residual() { Ok((projected + x)?) } else { Ok(projected) }
    }

    /// The block for inference; `stem` is the convolution before the first block, which that one takes in.
    pub(super) fn fuse(&self, stem: &NormalizedConvolution) -> Result<FusedBlock> {
        let expansion = match &self.expansion {
            Some(expansion) => Expansion::Pointwise(pack_pointwise(expansion)?),
            None => Expansion::Stem(pack_stem(stem)?),
        };
        let (weight, bias) = self.depthwise.folded()?;
        let weight = weight.flatten_from(1)?.to_vec2::<f32>()?;
        let depthwise = DepthwiseWeights::new(
            (self.config.kernel, self.config.stride),
            &bias.to_vec1::<f32>()?,
            |channel, tap| weight[channel][tap],
        );
        Ok(FusedBlock {
            expansion,
            depthwise,
            projection: pack_pointwise(&self.projection)?,
            residual: self.config.is_residual(),
        })
    }
}

/// A 1×1 convolution for the fused network.
pub(super) fn pack_pointwise(convolution: &NormalizedConvolution) -> Result<PackedWeights> {
    let (weight, bias) = convolution.folded()?;
    let inputs = weight.dim(1)?;
    let weight = weight.flatten_from(1)?.to_vec2::<f32>()?;
    Ok(PackedWeights::new(inputs, &bias.to_vec1::<f32>()?, |input, output| weight[output][input]))
}

/// The stem, its inputs in the order of a picture's rows: kernel row, kernel column, channel.
fn pack_stem(stem: &NormalizedConvolution) -> Result<PackedWeights> {
    let (weight, bias) = stem.folded()?;
    let weight = weight.permute((0, 2, 3, 1))?.contiguous()?.flatten_from(1)?.to_vec2::<f32>()?;
    let inputs = weight.first().map_or(0, Vec::len);
    Ok(PackedWeights::new(inputs, &bias.to_vec1::<f32>()?, |input, output| weight[output][input]))
}
