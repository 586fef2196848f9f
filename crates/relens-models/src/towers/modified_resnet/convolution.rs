//! Convolutions with the normalisation behind them folded in.

use candle_core::Tensor;

use crate::parameters::Parameters;
use crate::{ModelError, Result, ops};

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
