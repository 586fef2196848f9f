//! Softmax and its logarithm over the last dimension.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::arguments::{Elements, contiguous_f32, elements, last_dim, tensor_from};
use super::instruction_set::vectorized;
use super::parallel::for_row_blocks;
use super::vector_math::{dot, exp, max, scale, sum};
use crate::Result;

/// Rough cost of one element, in multiply-adds.
const COST: usize = 16;

/// Turns scores into probabilities in place, inside a vectorised function.
#[inline(always)]
pub(crate) fn softmax_in_place(row: &mut [f32]) {
    let largest = max(row);
    for x in row.iter_mut() {
        // The largest exponent is 0 then: nothing overflows, and the sum is at least 1.
        *x = exp(*x - largest);
    }
    let total = sum(row);
    scale(row, 1.0 / total);
}

#[inline(always)]
fn log_softmax_in_place(row: &mut [f32], exponentials: &mut [f32]) {
    let largest = max(row);
    for (e, &x) in exponentials.iter_mut().zip(row.iter()) {
        *e = exp(x - largest);
    }
    // From the sum, not by the logarithm of each probability: those that round to 0 would become −∞.
    let log_total = largest + sum(exponentials).ln();
    for x in row {
        *x -= log_total;
    }
}

vectorized! {
    fn normalize_rows(rows: &mut [f32], width: usize, logarithm: bool) {
        // The logarithm keeps the scores, so its exponentials need room of their own.
        let mut exponentials = vec![0.0f32; if logarithm { width } else { 0 }];
        for row in rows.chunks_exact_mut(width) {
            if logarithm {
                log_softmax_in_place(row, &mut exponentials);
            } else {
                softmax_in_place(row);
            }
        }
    }

    /// Softmax: p∘(g − Σ g∘p). Its logarithm: g − p·Σ g.
    fn input_gradient(
        output: &[f32],
        upstream: &[f32],
        gradients: &mut [f32],
        width: usize,
        logarithm: bool,
    ) {
        let inputs = output.chunks_exact(width).zip(upstream.chunks_exact(width));
        for (gradient, (y, g)) in gradients.chunks_exact_mut(width).zip(inputs) {
            if logarithm {
                let shared = sum(g);
                for ((d, &y), &g) in gradient.iter_mut().zip(y).zip(g) {
                    // The forward pass gave log-probabilities; exp gives back the probabilities that the gradient is
                    // made of.
                    *d = g - exp(y) * shared;
                }
            } else {
                let shared = dot(g, y);
                for ((d, &y), &g) in gradient.iter_mut().zip(y).zip(g) {
                    *d = y * (g - shared);
                }
            }
        }
    }
}

struct Softmax {
    logarithm: bool,
}

impl Softmax {
    fn forward(&self, input: &[f32], width: usize) -> Vec<f32> {
        let mut output = vec![0.0f32; input.len()];
        for_row_blocks(&mut output, width, COST, |first, rows| {
            rows.copy_from_slice(&input[first * width..first * width + rows.len()]);
            normalize_rows(rows, width, self.logarithm);
        });
        output
    }

    fn backward(&self, output: &[f32], upstream: &[f32], width: usize) -> Vec<f32> {
        let mut gradient = vec![0.0f32; output.len()];
        for_row_blocks(&mut gradient, width, COST, |first, rows| {
            let range = first * width..first * width + rows.len();
            input_gradient(&output[range.clone()], &upstream[range], rows, width, self.logarithm);
        });
        gradient
    }
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        if self.logarithm { "log-softmax-last-dim" } else { "softmax-last-dim" }
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let width = layout.dims().last().copied().unwrap_or(0);
        let output = self.forward(elements(storage, layout)?, width);
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, arg: &Tensor, res: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let width = arg.dims().last().copied().unwrap_or(0);
        let grad_res = grad_res.contiguous()?;
        let (output, upstream) = (Elements::of(res), Elements::of(&grad_res));
        Ok(Some(tensor_from(self.backward(output.get()?, upstream.get()?, width), arg)?))
    }
}

/// exp(xᵢ) / Σ exp(xⱼ) over the last dimension, by way of the row's maximum, so it never overflows.
///
/// # Shapes
/// - `x`, output: `[.., width]`
///
/// # Errors
/// When `x` is a scalar or not f32.
pub fn softmax_last_dim(x: &Tensor) -> Result<Tensor> {
    const NAME: &str = "softmax_last_dim";
    last_dim(NAME, x)?;
    Ok(contiguous_f32(NAME, x)?.apply_op1(Softmax { logarithm: false })?)
}

/// xᵢ − log Σ exp(xⱼ) over the last dimension: what a cross-entropy gathers from.
///
/// # Shapes
/// - `x`, output: `[.., width]`
///
/// # Errors
/// When `x` is a scalar or not f32.
pub fn log_softmax_last_dim(x: &Tensor) -> Result<Tensor> {
    const NAME: &str = "log_softmax_last_dim";
    last_dim(NAME, x)?;
    Ok(contiguous_f32(NAME, x)?.apply_op1(Softmax { logarithm: true })?)
}
