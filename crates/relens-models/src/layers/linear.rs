//! Affine maps, alone and several on the same input.

use candle_core::Tensor;

use crate::ops::{self, Activation};
use crate::weights::Parameters;
use crate::{ModelError, Result};

/// x·W + b.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Takes `weight` (stored `[out, in]`) and `bias`.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = parameters.linear_weight("weight", inputs, outputs)?;
        Ok(Self { weight, bias: Some(parameters.tensor("bias", &[outputs])?) })
    }

    /// Takes `weight` (stored `[out, in]`) alone.
    ///
    /// # Errors
    /// When the tensor is missing, of another shape or type, or not finite.
    pub fn load_without_bias(parameters: &Parameters, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self { weight: parameters.linear_weight("weight", inputs, outputs)?, bias: None })
    }

    /// Takes a weight (stored `[out, in]`) and a bias under names of their own, as `in_proj_weight` and `in_proj_bias`.
    ///
    /// # Errors
    /// As [`Linear::load`].
    pub fn load_named(
        parameters: &Parameters,
        (weight, bias): (&str, &str),
        inputs: usize,
        outputs: usize,
    ) -> Result<Self> {
        let weight = parameters.linear_weight(weight, inputs, outputs)?;
        Ok(Self { weight, bias: Some(parameters.tensor(bias, &[outputs])?) })
    }

    /// The map to `outputs` of the outputs alone, from the `first` on.
    ///
    /// # Errors
    /// When there are not as many outputs.
    pub fn narrow(&self, first: usize, outputs: usize) -> Result<Self> {
        let bias = self.bias.as_ref().map(|bias| bias.narrow(0, first, outputs)).transpose()?;
        Ok(Self { weight: self.weight.narrow(1, first, outputs)?.contiguous()?, bias })
    }

    /// Uses tensors at hand: `weight` of shape `[in, out]`, `bias` of shape `[out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// Whether training moves the weight or the bias.
    pub fn is_trainable(&self) -> bool {
        self.weight.track_op() || self.bias.as_ref().is_some_and(Tensor::track_op)
    }

    /// The same map without gradients; it shares the numbers.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.as_ref().map(Tensor::detach) }
    }

    /// x·W + b.
    ///
    /// # Shapes
    /// - `x`: `[.., in]`
    /// - output: `[.., out]`
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::linear(x, &self.weight, self.bias.as_ref())
    }

    /// activation(x·W + b), fused when nothing tracks gradients. Shapes and errors as [`Linear::forward`].
    pub fn forward_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        ops::linear_activation(x, &self.weight, self.bias.as_ref(), activation)
    }
}

/// Several affine maps of the same input, their outputs side by side: queries, keys and values of an attention.
///
/// Frozen maps are joined into one product once, trainable ones at every step, which keeps each its own variable.
#[derive(Debug, Clone)]
pub struct ConcatenatedLinear {
    parts: Vec<Linear>,
    joined: Option<Linear>,
}

impl ConcatenatedLinear {
    /// Joins maps of the same number of inputs; either all or none of them have a bias.
    ///
    /// # Errors
    /// When there are none, or they do not fit each other.
    pub fn new(parts: Vec<Linear>) -> Result<Self> {
        let same_bias = parts.windows(2).all(|pair| pair[0].bias.is_some() == pair[1].bias.is_some());
        if parts.is_empty() || !same_bias {
            return Err(ModelError::Argument {
                operation: "ConcatenatedLinear",
                expected: "one or more maps, all with a bias or all without".into(),
                found: format!("{} maps", parts.len()),
            });
        }
        if parts.iter().any(Linear::is_trainable) {
            return Ok(Self { parts, joined: None });
        }
        let joined = Some(join(&parts)?);
        Ok(Self { parts: Vec::new(), joined })
    }

    /// Whether training moves one of the maps.
    pub fn is_trainable(&self) -> bool {
        self.joined.is_none()
    }

    /// The same maps without gradients, joined as they are at this moment.
    ///
    /// # Errors
    /// The tensor library failed to copy.
    pub fn detached(&self) -> Result<Self> {
        match &self.joined {
            Some(_) => Ok(self.clone()),
            None => Self::new(self.parts.iter().map(Linear::detached).collect()),
        }
    }

    /// All outputs, side by side in the order of the parts.
    ///
    /// # Shapes
    /// - `x`: `[.., in]`
    /// - output: `[.., sum of the parts' out]`
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.joined {
            Some(joined) => joined.forward(x),
            None => join(&self.parts)?.forward(x),
        }
    }
}

fn join(parts: &[Linear]) -> Result<Linear> {
    let weights: Vec<&Tensor> = parts.iter().map(|part| &part.weight).collect();
    let biases: Option<Vec<&Tensor>> = parts.iter().map(|part| part.bias.as_ref()).collect();
    let bias = biases.map(|biases| Tensor::cat(&biases, 0)).transpose()?;
    Ok(Linear { weight: Tensor::cat(&weights, 1)?.contiguous()?, bias })
}
