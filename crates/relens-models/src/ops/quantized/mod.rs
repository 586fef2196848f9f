//! Products with matrices whose elements take eight or four bits.
//!
//! A decoder reads its whole weights for every token, so at one row a product is as fast as memory is. Weights are
//! kept in blocks of 32 with a scale each (the layouts of GGML's Q8_0 and Q4_1) and widened in registers; the
//! activations stay f32, so nothing but the weights is rounded. With many rows, tiles of the matrix are widened into
//! the cache and multiplied as any other matrix.

mod blocks;
mod ggml;
mod matrix;
mod product;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

pub use self::blocks::QuantizedFormat;
pub(crate) use self::ggml::GgmlLayout;
pub use self::matrix::QuantizedMatrix;
use super::arguments::{Elements, contiguous_f32, elements, expect_dims, last_dim, refuse};
use crate::Result;

struct QuantizedLinear {
    matrix: QuantizedMatrix,
}

impl CustomOp1 for QuantizedLinear {
    fn name(&self) -> &'static str {
        "quantized-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let output = product::multiply(elements(x, layout)?, &self.matrix);
        let mut dims = layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.matrix.outputs();
        }
        Ok((CpuStorage::F32(output), Shape::from(dims)))
    }

    fn bwd(&self, x: &Tensor, _res: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad_res = grad_res.contiguous()?;
        let upstream = Elements::of(&grad_res);
        let gradient = product::multiply_transposed(upstream.get()?, &self.matrix);
        Ok(Some(Tensor::from_vec(gradient, x.shape(), x.device())?))
    }
}

/// x·W + b with a quantised W; the gradient reaches `x` and `bias`.
///
/// # Shapes
/// - `x`: `[.., inputs]`
/// - `bias`: `[outputs]`
/// - output: `[.., outputs]`
///
/// # Errors
/// When the shapes do not fit, or a tensor is not f32.
pub fn quantized_linear(x: &Tensor, matrix: &QuantizedMatrix, bias: Option<&Tensor>) -> Result<Tensor> {
    const NAME: &str = "quantized_linear";
    if last_dim(NAME, x)? != matrix.inputs() {
        let expected = format!("x of shape [.., {}]", matrix.inputs());
        return Err(refuse(NAME, expected, format!("{:?}", x.dims())));
    }
    let output = contiguous_f32(NAME, x)?.apply_op1(QuantizedLinear { matrix: matrix.clone() })?;
    match bias {
        None => Ok(output),
        Some(bias) => {
            expect_dims(NAME, "bias", bias, &[matrix.outputs()])?;
            Ok(output.broadcast_add(bias)?)
        }
    }
}

#[cfg(test)]
mod tests;
