//! What follows a matrix product while its output is in the cache: bias, activation, residual.

use std::ops::Range;

use candle_core::Tensor;

use super::activation::{Activation, activate};
use super::instruction_set::vectorized;
use super::vector_math::add_assign;

vectorized! {
    /// Bias, activation and residual for a row or a part of one.
    pub(super) fn finish_row(
        row: &mut [f32],
        bias: Option<&[f32]>,
        activation: Option<Activation>,
        residual: Option<&[f32]>,
    ) {
        if let Some(bias) = bias {
            add_assign(row, bias);
        }
        if let Some(activation) = activation {
            activate(activation, row);
        }
        if let Some(residual) = residual {
            add_assign(row, residual);
        }
    }
}

/// What follows a product without leaving the cache.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish<'a> {
    /// Applied to x·W + b.
    pub activation: Option<Activation>,
    /// Added at the end; of the output's shape.
    pub residual: Option<&'a Tensor>,
}

/// What follows a product, as numbers.
#[derive(Clone, Copy, Default)]
pub(super) struct Epilogue<'a> {
    pub(super) bias: Option<&'a [f32]>,
    pub(super) activation: Option<Activation>,
    pub(super) residual: Option<&'a [f32]>,
}

impl Epilogue<'_> {
    /// Finishes a part of a row of `width` outputs.
    pub(super) fn apply(&self, part: &mut [f32], row: usize, columns: Range<usize>, width: usize) {
        let bias = self.bias.map(|bias| &bias[columns.clone()]);
        let residual = self.residual.map(|all| &all[row * width..][columns]);
        if bias.is_some() || self.activation.is_some() || residual.is_some() {
            finish_row(part, bias, self.activation, residual);
        }
    }
}
