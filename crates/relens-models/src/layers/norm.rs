//! Normalisation over the last dimension.

use candle_core::Tensor;

use crate::Result;
use crate::ops;
use crate::parameters::Parameters;

/// Layer normalisation with weight and bias.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Takes `weight` and `bias`.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, width: usize, eps: f64) -> Result<Self> {
        let (weight, bias) = (parameters.tensor("weight", &[width])?, parameters.tensor("bias", &[width])?);
        Ok(Self { weight, bias, eps })
    }

    /// The normalised rows.
    ///
    /// # Shapes
    /// - `x`, output: `[.., width]`
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm(x, &self.weight, &self.bias, self.eps)
    }

    /// The normalised rows of `x + residual`, fused when nothing tracks gradients.
    ///
    /// # Shapes
    /// - `x`, `residual`, output: `[.., width]`
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward_residual(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        ops::residual_layer_norm(x, residual, &self.weight, &self.bias, self.eps)
    }
}

/// Root-mean-square normalisation with a weight.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    /// Takes `weight`.
    ///
    /// # Errors
    /// When the tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, width: usize, eps: f64) -> Result<Self> {
        Ok(Self { weight: parameters.tensor("weight", &[width])?, eps })
    }

    /// The same norm without gradients; it shares the numbers.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { weight: self.weight.detach(), eps: self.eps }
    }

    /// The normalised rows.
    ///
    /// # Shapes
    /// - `x`, output: `[.., width]`
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::rms_norm(x, &self.weight, self.eps)
    }
}
