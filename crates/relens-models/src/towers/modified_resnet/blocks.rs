//! The block of a modified ResNet, and the attention at its end; convolutions have the normalisation
//! behind them folded in.

use candle_core::Tensor;

use super::fused::{Convolution, FusedBottleneck};
use super::{EXPANSION, ModifiedResNetConfig, final_side};
use crate::layers::{CrossAttention, Linear};
use crate::parameters::{LinearStorage, Parameters};
use crate::{ModelError, Result, ops};

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

/// Added to the variance by batch normalisation, PyTorch's default.
const EPS: f64 = 1e-5;

/// A square convolution without bias, then batch normalisation with frozen statistics, which is an affine map of each
/// channel and is folded into weight and bias.
#[derive(Debug, Clone)]
pub(super) struct FoldedConvolution {
    /// `[outputs, inputs, kernel, kernel]`, or `[inputs, outputs]` for a 1×1 kernel.
    weight: Tensor,
    bias: Tensor,
    kernel: usize,
}

impl FoldedConvolution {
    /// Reads `{convolution}.weight` and the four tensors of the normalisation.
    pub(super) fn load(
        parameters: &Parameters,
        (convolution, norm): (&str, &str),
        (inputs, outputs): (usize, usize),
        kernel: usize,
    ) -> Result<Self> {
        let weight = parameters.pp(convolution).tensor("weight", &[outputs, inputs, kernel, kernel])?;
        let norm = parameters.pp(norm);
        let variance = norm.tensor("running_var", &[outputs])?;
        let lowest = variance.min(0)?.to_scalar::<f32>()?;
        if f64::from(lowest) + EPS <= 0.0 {
            let name = norm.full_name("running_var");
            return Err(ModelError::Config {
                path: norm.weights().path().to_path_buf(),
                reason: format!("tensor `{name}` holds {lowest}, expected variances, which are not negative"),
            });
        }
        let scale = (norm.tensor("weight", &[outputs])? / (variance + EPS)?.sqrt()?)?;
        let bias = (norm.tensor("bias", &[outputs])? - (norm.tensor("running_mean", &[outputs])? * &scale)?)?;
        Self::from_folded(&weight.broadcast_mul(&scale.reshape(((), 1, 1, 1))?)?, bias)
    }

    /// Takes a kernel `[outputs, inputs, kernel, kernel]` with the normalisation folded in.
    pub(super) fn from_folded(weight: &Tensor, bias: Tensor) -> Result<Self> {
        let kernel = weight.dim(3)?;
        let weight = if kernel == 1 { weight.flatten_from(1)?.t()?.contiguous()? } else { weight.clone() };
        Ok(Self { weight, bias, kernel })
    }

    /// Side of the kernel.
    pub(super) fn kernel(&self) -> usize {
        self.kernel
    }

    /// Whether training moves it.
    pub(super) fn is_trainable(&self) -> bool {
        self.weight.track_op() || self.bias.track_op()
    }

    /// The weights as checkpoints store them, `[outputs, inputs, kernel, kernel]`.
    pub(super) fn stored(&self) -> Result<Vec<f32>> {
        let stored = if self.kernel == 1 { self.weight.t()? } else { self.weight.clone() };
        Ok(stored.flatten_all()?.to_vec1()?)
    }

    /// The bias of each output.
    pub(super) fn bias(&self) -> Result<Vec<f32>> {
        Ok(self.bias.to_vec1()?)
    }

    /// Convolves with zeros of half a kernel around the picture.
    ///
    /// # Shapes
    /// - `x`: `[images, height, width, inputs]`
    /// - output: `[images, ⌈height / stride⌉, ⌈width / stride⌉, outputs]`
    pub(super) fn forward(&self, x: &Tensor, stride: usize) -> Result<Tensor> {
        if self.kernel == 1 {
            return ops::linear(x, &self.weight, Some(&self.bias));
        }
        let channels_first = x.permute((0, 3, 1, 2))?.contiguous()?;
        let convolved = channels_first.conv2d(&self.weight, self.kernel / 2, stride, 1, 1)?;
        Ok(convolved.permute((0, 2, 3, 1))?.contiguous()?.broadcast_add(&self.bias)?)
    }
}

/// The mean of each `stride` × `stride` square; what exceeds a multiple of the stride is left out.
///
/// # Shapes
/// - `x`: `[images, height, width, channels]`
/// - output: `[images, ⌊height / stride⌋, ⌊width / stride⌋, channels]`
pub(super) fn average_pool(x: &Tensor, stride: usize) -> Result<Tensor> {
    if stride == 1 {
        return Ok(x.clone());
    }
    let (images, height, width, channels) = x.dims4()?;
    let (rows, columns) = (height / stride, width / stride);
    let whole = x.narrow(1, 0, rows * stride)?.narrow(2, 0, columns * stride)?.contiguous()?;
    let squares = whole.reshape((images * rows, stride, columns, stride, channels))?;
    Ok(squares.mean((1, 3))?.reshape((images, rows, columns, channels))?)
}
