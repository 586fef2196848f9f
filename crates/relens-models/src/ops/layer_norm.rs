//! Layer normalisation (Ba, Kiros and Hinton, 2016), alone and fused with the residual connection before it.

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};

use super::arguments::{Elements, contiguous_f32, elements, expect_dims, last_dim, tensor_from};
use super::instruction_set::vectorized;
use super::parallel::{for_row_blocks, reduce_rows};
use super::vector_math::{dot, sum, sum_of_squared_deviations};
use crate::Result;

/// Rough cost of one element, in multiply-adds.
const COST: usize = 8;

/// (mean, 1 / standard deviation) of a row.
#[inline(always)]
fn moments(row: &[f32], eps: f32) -> (f32, f32) {
    let width = row.len() as f32;
    // Two passes, mean first: Σx² − (Σx)² would cancel where the mean is large against the deviation.
    let mean = sum(row) / width;
    (mean, 1.0 / (sum_of_squared_deviations(row, mean) / width + eps).sqrt())
}

#[inline(always)]
fn normalize_in_place(row: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let (mean, inverse_deviation) = moments(row, eps);
    for ((x, &w), &b) in row.iter_mut().zip(weight).zip(bias) {
        *x = ((*x - mean) * inverse_deviation).mul_add(w, b);
    }
}

vectorized! {
    fn normalize_rows(rows: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
        for row in rows.chunks_exact_mut(weight.len()) {
            normalize_in_place(row, weight, bias, eps);
        }
    }

    fn normalize_sum(xs: &[f32], rs: &[f32], rows: &mut [f32], affine: (&[f32], &[f32]), eps: f32) {
        let (weight, bias) = affine;
        let width = weight.len();
        let inputs = xs.chunks_exact(width).zip(rs.chunks_exact(width));
        for (row, (x, r)) in rows.chunks_exact_mut(width).zip(inputs) {
            for (o, (&x, &r)) in row.iter_mut().zip(x.iter().zip(r)) {
                *o = x + r;
            }
            normalize_in_place(row, weight, bias, eps);
        }
    }

    /// With x̂ the normalised row and ĝ = g∘w: dx = (ĝ − mean ĝ − x̂·mean(ĝ∘x̂)) / deviation.
    fn input_gradient_rows(xs: &[f32], weight: &[f32], upstream: &[f32], gradients: &mut [f32], eps: f32) {
        let width = weight.len();
        let inputs = xs.chunks_exact(width).zip(upstream.chunks_exact(width));
        // One buffer for all rows of a block; x̂ is needed twice, and recomputing it costs less than keeping it for
        // all rows.
        let mut normalized = vec![0.0f32; width];
        for (gradient, (x, g)) in gradients.chunks_exact_mut(width).zip(inputs) {
            let (mean, inverse_deviation) = moments(x, eps);
            let pairs = x.iter().zip(g).zip(weight);
            for ((n, d), ((&x, &g), &w)) in normalized.iter_mut().zip(gradient.iter_mut()).zip(pairs) {
                *n = (x - mean) * inverse_deviation;
                *d = g * w;
            }
            let mean_gradient = sum(gradient) / width as f32;
            let projection = dot(gradient, &normalized) / width as f32;
            for (d, &n) in gradient.iter_mut().zip(&normalized) {
                *d = (-n).mul_add(projection, *d - mean_gradient) * inverse_deviation;
            }
        }
    }

    fn add_parameter_gradients(xs: &[f32], upstream: &[f32], dw: &mut [f32], db: &mut [f32], eps: f32) {
        let width = dw.len();
        for (x, g) in xs.chunks_exact(width).zip(upstream.chunks_exact(width)) {
            let (mean, inverse_deviation) = moments(x, eps);
            for ((dw, db), (&x, &g)) in dw.iter_mut().zip(db.iter_mut()).zip(x.iter().zip(g)) {
                *dw = ((x - mean) * inverse_deviation).mul_add(g, *dw);
                *db += g;
            }
        }
    }
}

struct LayerNormOp {
    eps: f32,
}

impl CustomOp3 for LayerNormOp {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = elements::<f32>(x, x_layout)?;
        let (weight, bias) = (elements::<f32>(weight, weight_layout)?, elements::<f32>(bias, bias_layout)?);
        let width = weight.len();
        let mut output = vec![0.0f32; x.len()];
        for_row_blocks(&mut output, width, COST, |first, rows| {
            rows.copy_from_slice(&x[first * width..first * width + rows.len()]);
            normalize_rows(rows, weight, bias, self.eps);
        });
        Ok((CpuStorage::F32(output), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _res: &Tensor,
        grad_res: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad_res = grad_res.contiguous()?;
        let guards = (Elements::of(x), Elements::of(weight), Elements::of(&grad_res));
        let (xs, ws, upstream) = (guards.0.get()?, guards.1.get()?, guards.2.get()?);
        let dx = match x.track_op() {
            true => Some(tensor_from(self.input_gradient(xs, ws, upstream), x)?),
            false => None,
        };
        if !weight.track_op() && !bias.track_op() {
            return Ok((dx, None, None));
        }
        // Both in one reduction: they read the same rows.
        let mut dw = self.parameter_gradients(xs, upstream, ws.len());
        let db = dw.split_off(ws.len());
        Ok((dx, Some(tensor_from(dw, weight)?), Some(tensor_from(db, bias)?)))
    }
}

impl LayerNormOp {
    fn input_gradient(&self, xs: &[f32], weight: &[f32], upstream: &[f32]) -> Vec<f32> {
        let width = weight.len();
        let mut gradient = vec![0.0f32; xs.len()];
        for_row_blocks(&mut gradient, width, 2 * COST, |first, rows| {
            let range = first * width..first * width + rows.len();
            input_gradient_rows(&xs[range.clone()], weight, &upstream[range], rows, self.eps);
        });
        gradient
    }

    /// Σ g∘x̂ followed by Σ g, over all rows.
    fn parameter_gradients(&self, xs: &[f32], upstream: &[f32], width: usize) -> Vec<f32> {
        if width == 0 {
            return Vec::new();
        }
        reduce_rows(xs.len() / width, 2 * width, COST * width, |rows, partial| {
            let (dw, db) = partial.split_at_mut(width);
            let range = rows.start * width..rows.end * width;
            add_parameter_gradients(&xs[range.clone()], &upstream[range], dw, db, self.eps);
        })
    }
}

fn check(operation: &'static str, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<()> {
    let width = last_dim(operation, x)?;
    expect_dims(operation, "weight", weight, &[width])?;
    expect_dims(operation, "bias", bias, &[width])
}

/// (x − mean) / √(variance + eps) · weight + bias over the last dimension, with the biased variance.
///
/// # Shapes
/// - `x`, output: `[.., width]`
/// - `weight`, `bias`: `[width]`
///
/// # Errors
/// When the shapes do not fit, or a tensor is not f32.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    const NAME: &str = "layer_norm";
    check(NAME, x, weight, bias)?;
    let (x, weight, bias) =
        (contiguous_f32(NAME, x)?, contiguous_f32(NAME, weight)?, contiguous_f32(NAME, bias)?);
    Ok(x.apply_op3(&weight, &bias, LayerNormOp { eps: eps as f32 })?)
}

/// `layer_norm(x + residual)`: one pass over memory when no argument tracks gradients, the two steps otherwise.
///
/// # Shapes
/// - `x`, `residual`, output: `[.., width]`
/// - `weight`, `bias`: `[width]`
///
/// # Errors
/// When the shapes do not fit, or a tensor is not f32.
pub fn residual_layer_norm(
    x: &Tensor,
    residual: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    const NAME: &str = "residual_layer_norm";
    check(NAME, x, weight, bias)?;
    expect_dims(NAME, "residual", residual, x.dims())?;
    if [x, residual, weight, bias].iter().any(|t| t.track_op()) {
        // The fused form has no backward pass; two recorded steps have one each.
        return layer_norm(&(x + residual)?, weight, bias, eps);
    }
    let (x, residual) = (contiguous_f32(NAME, x)?, contiguous_f32(NAME, residual)?);
    let (weight, bias) = (contiguous_f32(NAME, weight)?, contiguous_f32(NAME, bias)?);
    let guards = (Elements::of(&x), Elements::of(&residual), Elements::of(&weight), Elements::of(&bias));
    let (xs, rs) = (guards.0.get()?, guards.1.get()?);
    let (ws, bs) = (guards.2.get()?, guards.3.get()?);
    let width = ws.len();
    let mut output = vec![0.0f32; xs.len()];
    for_row_blocks(&mut output, width, COST, |first, rows| {
        let range = first * width..first * width + rows.len();
        normalize_sum(&xs[range.clone()], &rs[range], rows, (ws, bs), eps as f32);
    });
    Ok(tensor_from(output, &x)?)
}
