//! Products of eight-bit integers: weights rounded once for each output, activations for each row as they come.
//!
//! Where a transformer is limited by arithmetic and not by memory, integers of eight bits do four multiply-adds in the
//! place of one. Weights are symmetric with a scale for each output (*per channel*), activations have a scale and a
//! zero point for each row (*per token, dynamic*), which a GELU's lopsided range needs. Sums are exact, so all kernels
//! give the same bits; only scaling, bias and activation are in f32. For inference: there is no backward pass.

mod dot;
mod matrix;
mod product;

use candle_core::{Device, Tensor};

pub use self::matrix::Int8Matrix;
use super::arguments::{Elements, contiguous_f32, expect_dims, last_dim, refuse};
use super::epilogue::{Epilogue, Finish};
use crate::Result;

/// activation(x·W + b) + residual with W in eight bits, each step if it is there.
///
/// # Shapes
/// - `x`: `[.., inputs]`
/// - `bias`: `[outputs]`
/// - `residual`, output: `[.., outputs]`
///
/// # Errors
/// When the shapes do not fit, a tensor is not f32, or one tracks gradients.
pub fn int8_linear(
    x: &Tensor,
    matrix: &Int8Matrix,
    bias: Option<&Tensor>,
    finish: Finish<'_>,
) -> Result<Tensor> {
    const NAME: &str = "int8_linear";
    if x.track_op() || bias.is_some_and(Tensor::track_op) {
        return Err(refuse(NAME, "tensors without gradients", "one that tracks them"));
    }
    if last_dim(NAME, x)? != matrix.inputs() {
        let expected = format!("x of shape [.., {}]", matrix.inputs());
        return Err(refuse(NAME, expected, format!("{:?}", x.dims())));
    }
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = matrix.outputs();
    }
    if let Some(bias) = bias {
        expect_dims(NAME, "bias", bias, &[matrix.outputs()])?;
    }
    if let Some(residual) = finish.residual {
        expect_dims(NAME, "residual", residual, &dims)?;
    }
    let x = contiguous_f32(NAME, x)?;
    let bias = bias.map(|bias| contiguous_f32(NAME, bias)).transpose()?;
    let residual = finish.residual.map(|residual| contiguous_f32(NAME, residual)).transpose()?;
    let guards = (Elements::of(&x), bias.as_ref().map(Elements::of), residual.as_ref().map(Elements::of));
    let epilogue = Epilogue {
        bias: guards.1.as_ref().map(Elements::get).transpose()?,
        activation: finish.activation,
        residual: guards.2.as_ref().map(Elements::get).transpose()?,
    };
    let output = product::multiply(guards.0.get()?, matrix, epilogue);
    Ok(Tensor::from_vec(output, dims, &Device::Cpu)?)
}

#[cfg(test)]
mod tests;
