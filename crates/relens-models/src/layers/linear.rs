//! Affine maps, alone and several on the same input.

use candle_core::Tensor;

use crate::lora::{AdapterMode, LowRankMap};
use crate::ops::{self, Activation, Finish, Int8Matrix, QuantizedMatrix};
use crate::parameters::{LinearWeight, Parameters};
use crate::{ModelError, Result};

/// x·W + b, and what an adapter adds.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: LinearWeight,
    bias: Option<Tensor>,
    adapter: Option<LowRankMap>,
}

impl Linear {
    /// Takes `weight` (stored `[out, in]`) and `bias`.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, inputs: usize, outputs: usize) -> Result<Self> {
        let map = Self::load_without_bias(parameters, inputs, outputs)?;
        Ok(Self { bias: Some(parameters.tensor("bias", &[outputs])?), ..map })
    }

    /// Takes `weight` (stored `[out, in]`) alone.
    ///
    /// # Errors
    /// When the tensor is missing, of another shape or type, or not finite.
    pub fn load_without_bias(parameters: &Parameters, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self {
            weight: parameters.linear_map("weight", inputs, outputs)?,
            bias: None,
            adapter: parameters.low_rank_map(inputs, outputs)?,
        })
    }

    /// [`Linear::load`] if `bias`, [`Linear::load_without_bias`] if not.
    ///
    /// # Errors
    /// As these.
    pub fn load_biased(parameters: &Parameters, inputs: usize, outputs: usize, bias: bool) -> Result<Self> {
        match bias {
            true => Self::load(parameters, inputs, outputs),
            false => Self::load_without_bias(parameters, inputs, outputs),
        }
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
        Ok(Self {
            weight: parameters.linear_map(weight, inputs, outputs)?,
            bias: Some(parameters.tensor(bias, &[outputs])?),
            adapter: None,
        })
    }

    /// The map to `outputs` of the outputs alone, from the `first` on.
    ///
    /// # Errors
    /// When there are not as many outputs, or the map is quantised or adapted.
    pub fn narrow(&self, first: usize, outputs: usize) -> Result<Self> {
        let (LinearWeight::Dense(weight), None) = (&self.weight, &self.adapter) else {
            let found = "a quantised or adapted one".into();
            return Err(ModelError::Argument { operation: "narrow", expected: "a plain map".into(), found });
        };
        let bias = self.bias.as_ref().map(|bias| bias.narrow(0, first, outputs)).transpose()?;
        Ok(Self::new(weight.narrow(1, first, outputs)?.contiguous()?, bias))
    }

    /// Uses tensors at hand: `weight` of shape `[in, out]`, `bias` of shape `[out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight: LinearWeight::Dense(weight), bias, adapter: None }
    }

    /// The same map with this bias.
    #[must_use]
    pub fn with_bias(self, bias: Tensor) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// Whether training moves the weight or the bias; an adapter's part does not count.
    pub fn is_trainable(&self) -> bool {
        let weight = matches!(&self.weight, LinearWeight::Dense(weight) if weight.track_op());
        weight || self.bias.as_ref().is_some_and(Tensor::track_op)
    }

    /// The same map without gradients; it shares the numbers.
    #[must_use]
    pub fn detached(&self) -> Self {
        let weight = match &self.weight {
            LinearWeight::Dense(weight) => LinearWeight::Dense(weight.detach()),
            LinearWeight::Quantized(matrix) => LinearWeight::Quantized(matrix.clone()),
            LinearWeight::Int8(matrix) => LinearWeight::Int8(matrix.clone()),
        };
        let bias = self.bias.as_ref().map(Tensor::detach);
        Self { weight, bias, adapter: self.adapter.as_ref().map(LowRankMap::detached) }
    }

    /// The number of outputs.
    ///
    /// # Errors
    /// When the weight is no matrix.
    pub fn outputs(&self) -> Result<usize> {
        match &self.weight {
            LinearWeight::Dense(weight) => Ok(weight.dims2()?.1),
            LinearWeight::Quantized(matrix) => Ok(matrix.outputs()),
            LinearWeight::Int8(matrix) => Ok(matrix.outputs()),
        }
    }

    /// x·W + b, and what an adapter adds.
    ///
    /// # Shapes
    /// - `x`: `[.., in]`
    /// - output: `[.., out]`
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Some(adapter) = &self.adapter else { return self.forward_plain(x) };
        match (adapter.mode(), &self.weight) {
            (AdapterMode::Disabled, _) => self.forward_plain(x),
            // Quantised weights cannot take the products in without rounding anew, so they fall through and add them.
            (AdapterMode::Merged, LinearWeight::Dense(weight)) => {
                ops::linear(x, &adapter.merged_weight(weight)?, self.bias.as_ref())
            }
            _ => adapter.add(&self.forward_plain(x)?, x),
        }
    }

    fn forward_plain(&self, x: &Tensor) -> Result<Tensor> {
        match &self.weight {
            LinearWeight::Dense(weight) => ops::linear(x, weight, self.bias.as_ref()),
            LinearWeight::Quantized(matrix) => ops::quantized_linear(x, matrix, self.bias.as_ref()),
            LinearWeight::Int8(matrix) => ops::int8_linear(x, matrix, self.bias.as_ref(), Finish::default()),
        }
    }

    /// activation(x·W + b), fused when nothing tracks gradients. Shapes as [`Linear::forward`].
    ///
    /// # Errors
    /// As [`Linear::forward`].
    pub fn forward_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        self.forward_finished(x, Finish { activation: Some(activation), residual: None })
    }

    /// residual + x·W + b, fused when nothing tracks gradients.
    ///
    /// # Shapes
    /// - `residual`, output: `[.., out]`
    ///
    /// # Errors
    /// As [`Linear::forward`].
    pub fn forward_onto(&self, residual: &Tensor, x: &Tensor) -> Result<Tensor> {
        self.forward_finished(x, Finish { activation: None, residual: Some(residual) })
    }

    fn forward_finished(&self, x: &Tensor, finish: Finish<'_>) -> Result<Tensor> {
        match (&self.weight, &self.adapter) {
            (LinearWeight::Dense(weight), None) => {
                ops::linear_finished(x, weight, self.bias.as_ref(), finish)
            }
            (LinearWeight::Int8(matrix), None) => ops::int8_linear(x, matrix, self.bias.as_ref(), finish),
            _ => {
                let mut output = self.forward(x)?;
                if let Some(activation) = finish.activation {
                    output = ops::activation(&output, activation)?;
                }
                Ok(match finish.residual {
                    Some(residual) => (output + residual)?,
                    None => output,
                })
            }
        }
    }
}

/// Several affine maps of the same input, their outputs side by side: queries, keys and values of an attention.
///
/// Frozen maps are joined into one product once, trainable ones at every step, which keeps each its own variable.
/// Maps whose weights cannot be joined, being quantised in different ways, stay apart.
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
        // Joined weights would be copies, and the optimizer moves the originals.
        if parts.iter().any(Linear::is_trainable) {
            return Ok(Self { parts, joined: None });
        }
        match join(&parts)? {
            None => Ok(Self { parts, joined: None }),
            // The parts are let go: kept, the weights would be in memory twice.
            joined => Ok(Self { parts: Vec::new(), joined }),
        }
    }

    /// Whether training moves one of the maps.
    pub fn is_trainable(&self) -> bool {
        self.parts.iter().any(Linear::is_trainable)
    }

    /// The same maps without gradients, joined as they are at this moment.
    ///
    /// # Errors
    /// The tensor library failed to copy.
    pub fn detached(&self) -> Result<Self> {
        match &self.joined {
            Some(joined) => Ok(Self { parts: Vec::new(), joined: Some(joined.detached()) }),
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
        if let Some(joined) = &self.joined {
            return joined.forward(x);
        }
        if let Some(joined) = join(&self.parts)? {
            return joined.forward(x);
        }
        let outputs = self.parts.iter().map(|part| part.forward(x)).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&outputs, candle_core::D::Minus1)?)
    }
}

/// One map for all parts; none when their weights are of different kinds.
fn join(parts: &[Linear]) -> Result<Option<Linear>> {
    let mut dense = Vec::with_capacity(parts.len());
    let mut quantized = Vec::with_capacity(parts.len());
    let mut int8 = Vec::with_capacity(parts.len());
    for part in parts {
        match &part.weight {
            LinearWeight::Dense(weight) => dense.push(weight),
            LinearWeight::Quantized(matrix) => quantized.push(matrix),
            LinearWeight::Int8(matrix) => int8.push(matrix),
        }
    }
    let weight = if dense.len() == parts.len() {
        LinearWeight::Dense(Tensor::cat(&dense, 1)?.contiguous()?)
    } else if quantized.len() == parts.len()
        && let Some(joined) = QuantizedMatrix::concatenate(&quantized)
    {
        LinearWeight::Quantized(joined)
    } else if int8.len() == parts.len()
        && let Some(joined) = Int8Matrix::concatenate(&int8)
    {
        LinearWeight::Int8(joined)
    } else {
        return Ok(None);
    };
    let biases: Option<Vec<&Tensor>> = parts.iter().map(|part| part.bias.as_ref()).collect();
    let bias = biases.map(|biases| Tensor::cat(&biases, 0)).transpose()?;
    let widths = parts.iter().map(Linear::outputs).collect::<Result<Vec<_>>>()?;
    // Adapters stay apart inside: each has its own A, whose inputs are dropped by its own seed.
    let adapter = LowRankMap::side_by_side(parts.iter().map(|part| part.adapter.as_ref()).zip(widths));
    Ok(Some(Linear { weight, bias, adapter }))
}
