//! Vectors of length one.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::arguments::{Elements, contiguous_f32, elements, last_dim, tensor_from};
use super::instruction_set::vectorized;
use super::parallel::for_row_blocks;
use super::vector_math::{dot, scale};
use crate::Result;

/// Rough cost of one element, in multiply-adds.
const COST: usize = 3;

/// The shortest length that is divided by: PyTorch's `normalize` has the same, so zero stays zero.
const SMALLEST_NORM: f32 = 1e-12;

#[inline(always)]
fn norm(row: &[f32]) -> f32 {
    let norm = dot(row, row).sqrt();
    if norm < SMALLEST_NORM { SMALLEST_NORM } else { norm }
}

vectorized! {
    fn normalize_rows(rows: &mut [f32], width: usize) {
        for row in rows.chunks_exact_mut(width) {
            let inverse = 1.0 / norm(row);
            scale(row, inverse);
        }
    }

    /// dx = (g − y·(g·y)) / |x|
    fn input_gradient(xs: &[f32], ys: &[f32], upstream: &[f32], gradients: &mut [f32], width: usize) {
        let outputs = ys.chunks_exact(width).zip(upstream.chunks_exact(width));
        for (d, (x, (y, g))) in gradients.chunks_exact_mut(width).zip(xs.chunks_exact(width).zip(outputs)) {
            let (inverse, projection) = (1.0 / norm(x), dot(g, y));
            for (d, (&y, &g)) in d.iter_mut().zip(y.iter().zip(g)) {
                *d = (-y).mul_add(projection, g) * inverse;
            }
        }
    }
}

struct L2Normalize;

impl CustomOp1 for L2Normalize {
    fn name(&self) -> &'static str {
        "l2-normalize"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut output = elements::<f32>(storage, layout)?.to_vec();
        let width = layout.dims().last().copied().unwrap_or(0);
        for_row_blocks(&mut output, width, COST, |_, rows| normalize_rows(rows, width));
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, arg: &Tensor, res: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let width = arg.dims().last().copied().unwrap_or(0);
        let grad_res = grad_res.contiguous()?;
        let guards = (Elements::of(arg), Elements::of(res), Elements::of(&grad_res));
        let (xs, ys, upstream) = (guards.0.get()?, guards.1.get()?, guards.2.get()?);
        let mut gradient = vec![0.0f32; xs.len()];
        // Two dot products and one pass: about twice the forward cost.
        for_row_blocks(&mut gradient, width, 2 * COST, |first, rows| {
            let range = first * width..first * width + rows.len();
            input_gradient(&xs[range.clone()], &ys[range.clone()], &upstream[range], rows, width);
        });
        Ok(Some(tensor_from(gradient, arg)?))
    }
}

/// x / max(|x|₂, 10⁻¹²) over the last dimension.
///
/// # Shapes
/// - `x`, output: `[.., width]`
///
/// # Errors
/// When `x` is a scalar or not f32.
pub fn l2_normalize(x: &Tensor) -> Result<Tensor> {
    const NAME: &str = "l2_normalize";
    last_dim(NAME, x)?;
    Ok(contiguous_f32(NAME, x)?.apply_op1(L2Normalize)?)
}
