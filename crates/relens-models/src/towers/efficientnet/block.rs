//! The two kinds of block, as differentiable tensor operations, and their convolutions, with the
//! normalisation that follows folded in.

use candle_core::Tensor;

use super::config::BlockConfig;
use super::fused::{DepthwiseWeights, Expansion, FusedBlock, PackedWeights};
use crate::ops::arguments::refuse;
use crate::ops::{depthwise_conv2d, linear, relu6};
use crate::parameters::Parameters;
use crate::{ModelError, Result};

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

/// A convolution without bias, and the batch normalisation behind it with frozen statistics.
///
/// With frozen statistics, a normalisation is an affine map of each channel, so it is folded: the weight is scaled,
/// a bias takes the rest. What is trained are still the convolution's weight and the normalisation's γ and β; the
/// folding is computed anew in every forward pass then, and gradients reach all three through it.
pub(super) struct NormalizedConvolution {
    weight: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    deviation: Tensor,
    /// Weight and bias, if nothing in them can change.
    frozen: Option<(Tensor, Tensor)>,
}

impl NormalizedConvolution {
    /// Reads `{convolution}.weight` of shape `dims` and the four tensors of the normalisation `norm`.
    pub(super) fn new(
        parameters: &Parameters,
        convolution: &str,
        norm: &str,
        dims: [usize; 4],
        eps: f64,
    ) -> Result<Self> {
        let channels = dims[0];
        let norm = parameters.pp(norm);
        // Detached, as is the mean: statistics are no parameters, whatever a selection of names says.
        let variance = norm.tensor("running_var", &[channels])?.detach();
        let lowest = variance.min(0)?.to_scalar::<f32>()?;
        if f64::from(lowest) + eps <= 0.0 {
            return Err(ModelError::Config {
                path: norm.weights().path().to_path_buf(),
                reason: format!(
                    "tensor `{}` holds {lowest}, expected variances, which are not negative",
                    norm.full_name("running_var")
                ),
            });
        }
        let mut convolution = Self {
            weight: parameters.pp(convolution).tensor("weight", &dims)?,
            gamma: norm.tensor("weight", &[channels])?,
            beta: norm.tensor("bias", &[channels])?,
            mean: norm.tensor("running_mean", &[channels])?.detach(),
            deviation: (variance + eps)?.sqrt()?,
            frozen: None,
        };
        if !convolution.is_trainable() {
            convolution.frozen = Some(convolution.fold()?);
        }
        Ok(convolution)
    }

    /// Whether training can change it.
    pub(super) fn is_trainable(&self) -> bool {
        [&self.weight, &self.gamma, &self.beta].iter().any(|tensor| tensor.track_op())
    }

    /// The weight scaled by γ / √(variance + ε), in the checkpoint's shape, and the bias β − mean · scale.
    pub(super) fn folded(&self) -> Result<(Tensor, Tensor)> {
        match &self.frozen {
            Some(folded) => Ok(folded.clone()),
            None => self.fold(),
        }
    }

    fn fold(&self) -> Result<(Tensor, Tensor)> {
        let scale = (&self.gamma / &self.deviation)?;
        let bias = (&self.beta - (&self.mean * &scale)?)?;
        let weight = self.weight.broadcast_mul(&scale.reshape(((), 1, 1, 1))?)?;
        Ok((weight, bias))
    }

    /// A 1×1 convolution.
    ///
    /// # Shapes
    /// - `x`: `[…, inputs]`
    /// - returns: `[…, outputs]`
    pub(super) fn pointwise(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.folded()?;
        let weight = weight.flatten_from(1)?.t()?.contiguous()?;
        linear(x, &weight, Some(&bias))
    }

    /// A depthwise convolution with "same" padding.
    ///
    /// # Shapes
    /// - `x`: `[batch, height, width, channels]`
    /// - returns: `[batch, ⌈height / stride⌉, ⌈width / stride⌉, channels]`
    pub(super) fn depthwise(&self, x: &Tensor, stride: usize) -> Result<Tensor> {
        let (weight, bias) = self.folded()?;
        depthwise_conv2d(x, &weight, &bias, stride)
    }

    /// A dense convolution with "same" padding.
    ///
    /// # Shapes
    /// - `x`: `[batch, height, width, inputs]`
    /// - returns: `[batch, ⌈height / stride⌉, ⌈width / stride⌉, outputs]`
    pub(super) fn dense(&self, x: &Tensor, stride: usize) -> Result<Tensor> {
        let &[_, height, width, _] = x.dims() else {
            return Err(refuse("dense convolution", "four dimensions", format!("{:?}", x.dims())));
        };
        let (weight, bias) = self.folded()?;
        let kernel = weight.dim(2)?;
        let mut x = x.clone();
        for (dim, size) in [(1, height), (2, width)] {
            let padding = crate::ops::SamePadding::new(size, kernel, stride);
            let behind = padding.padded.saturating_sub(size + padding.before);
            x = x.pad_with_zeros(dim, padding.before, behind)?;
        }
        // The tensor library's convolution wants channels first; this path runs only while the stem is trained.
        let channels_first = x.permute((0, 3, 1, 2))?.contiguous()?;
        let convolved = channels_first.conv2d(&weight, 0, stride, 1, 1)?;
        Ok(convolved.permute((0, 2, 3, 1))?.contiguous()?.broadcast_add(&bias)?)
    }
}
