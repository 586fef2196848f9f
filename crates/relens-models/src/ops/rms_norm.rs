//! Root-mean-square normalisation (Zhang and Sennrich, 2019).

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::arguments::{Elements, contiguous_f32, elements, expect_dims, last_dim, tensor_from};
use super::instruction_set::vectorized;
use super::parallel::{for_row_blocks, reduce_rows};
use super::vector_math::{dot, sum_of_squared_deviations};
use crate::Result;

/// Rough cost of one element, in multiply-adds.
const COST: usize = 6;

#[inline(always)]
fn inverse_root_mean_square(row: &[f32], eps: f32) -> f32 {
    // Deviations from 0: the mean is not taken out.
    1.0 / (sum_of_squared_deviations(row, 0.0) / row.len() as f32 + eps).sqrt()
}

vectorized! {
    fn normalize_rows(xs: &[f32], weight: &[f32], rows: &mut [f32], eps: f32) {
        let width = weight.len();
        for (row, x) in rows.chunks_exact_mut(width).zip(xs.chunks_exact(width)) {
            let inverse = inverse_root_mean_square(x, eps);
            for (o, (&x, &w)) in row.iter_mut().zip(x.iter().zip(weight)) {
                *o = x * inverse * w;
            }
        }
    }

    /// With x̂ = x / rms and ĝ = g∘w: dx = (ĝ − x̂·mean(ĝ∘x̂)) / rms.
    fn input_gradient_rows(xs: &[f32], weight: &[f32], upstream: &[f32], gradients: &mut [f32], eps: f32) {
        let width = weight.len();
        let inputs = xs.chunks_exact(width).zip(upstream.chunks_exact(width));
        for (gradient, (x, g)) in gradients.chunks_exact_mut(width).zip(inputs) {
            let inverse = inverse_root_mean_square(x, eps);
            for (d, (&g, &w)) in gradient.iter_mut().zip(g.iter().zip(weight)) {
                *d = g * w;
            }
            // x̂ is x·inverse; the factor stands outside of the dot product twice, so that x̂ itself is never
            // written.
            let projection = dot(gradient, x) / width as f32 * inverse * inverse;
            for (d, &x) in gradient.iter_mut().zip(x) {
                *d = (-x).mul_add(projection, *d) * inverse;
            }
        }
    }

    fn add_weight_gradient(xs: &[f32], upstream: &[f32], dw: &mut [f32], eps: f32) {
        let width = dw.len();
        for (x, g) in xs.chunks_exact(width).zip(upstream.chunks_exact(width)) {
            let inverse = inverse_root_mean_square(x, eps);
            for (dw, (&x, &g)) in dw.iter_mut().zip(x.iter().zip(g)) {
                *dw = (x * inverse).mul_add(g, *dw);
            }
        }
    }
}

struct RmsNormOp {
    eps: f32,
}

impl CustomOp2 for RmsNormOp {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, weight) = (elements::<f32>(x, x_layout)?, elements::<f32>(weight, weight_layout)?);
        let width = weight.len();
        let mut output = vec![0.0f32; x.len()];
        for_row_blocks(&mut output, width, COST, |first, rows| {
            normalize_rows(&x[first * width..first * width + rows.len()], weight, rows, self.eps);
        });
        Ok((CpuStorage::F32(output), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _res: &Tensor,
        grad_res: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad_res = grad_res.contiguous()?;
        let guards = (Elements::of(x), Elements::of(weight), Elements::of(&grad_res));
        let (xs, ws, upstream) = (guards.0.get()?, guards.1.get()?, guards.2.get()?);
        let dx = match x.track_op() {
            true => Some(tensor_from(self.input_gradient(xs, ws, upstream), x)?),
            false => None,
        };
        let dw = match weight.track_op() {
            true => Some(tensor_from(self.weight_gradient(xs, upstream, ws.len()), weight)?),
            false => None,
        };
        Ok((dx, dw))
    }
}

impl RmsNormOp {
    fn input_gradient(&self, xs: &[f32], weight: &[f32], upstream: &[f32]) -> Vec<f32> {
        let width = weight.len();
        let mut gradient = vec![0.0f32; xs.len()];
        for_row_blocks(&mut gradient, width, 2 * COST, |first, rows| {
            let range = first * width..first * width + rows.len();
            input_gradient_rows(&xs[range.clone()], weight, &upstream[range], rows, self.eps);
        });
        gradient
    }

    /// Σ g∘x̂ over all rows.
    fn weight_gradient(&self, xs: &[f32], upstream: &[f32], width: usize) -> Vec<f32> {
        if width == 0 {
            return Vec::new();
        }
        reduce_rows(xs.len() / width, width, COST * width, |rows, partial| {
            let range = rows.start * width..rows.end * width;
            add_weight_gradient(&xs[range.clone()], &upstream[range], partial, self.eps);
        })
    }
}

/// x / √(mean x² + eps) · weight over the last dimension.
///
/// # Shapes
/// - `x`, output: `[.., width]`
/// - `weight`: `[width]`
///
/// # Errors
/// When the shapes do not fit, or a tensor is not f32.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    const NAME: &str = "rms_norm";
    expect_dims(NAME, "weight", weight, &[last_dim(NAME, x)?])?;
    let (x, weight) = (contiguous_f32(NAME, x)?, contiguous_f32(NAME, weight)?);
    Ok(x.apply_op2(&weight, RmsNormOp { eps: eps as f32 })?)
}
