//! Rows times a matrix of eight bits.

use std::ops::Range;

use super::super::instruction_set::vectorized;
use super::super::linear::Epilogue;
use super::super::matmul::{MatrixMut, for_each_block};
use super::dot::{DotProduct, PANEL, Sums, TILE_ROWS};
use super::matrix::Int8Matrix;
use super::rows::QuantizedRows;

/// Bytes of activations that are multiplied with one panel after the other: with a panel, half a core's cache.
const BLOCK_BYTES: usize = 384 << 10;

/// Multiply-adds of bytes that cost as much as one of f32 in a plain loop.
const MULTIPLY_ADDS: usize = 64;

/// x·W and the epilogue, `[rows, outputs]`.
pub(super) fn multiply(x: &[f32], matrix: &Int8Matrix, epilogue: Epilogue<'_>) -> Vec<f32> {
    multiply_with(DotProduct::detected(), x, matrix, epilogue)
}

pub(super) fn multiply_with(
    dot_product: DotProduct,
    x: &[f32],
    matrix: &Int8Matrix,
    epilogue: Epilogue<'_>,
) -> Vec<f32> {
    let (inputs, outputs) = (matrix.inputs(), matrix.outputs());
    let rows = QuantizedRows::new(x, inputs);
    let count = rows.scales.len();
    let product = Product { dot_product, rows, matrix, epilogue };
    let mut data = Vec::with_capacity(count * outputs);
    // SAFETY: the capacity is reserved, and the blocks cover every element before anything reads it.
    let output = unsafe { MatrixMut::from_raw(data.as_mut_ptr(), count, outputs, outputs) };
    let cost = count.saturating_mul(outputs).saturating_mul(inputs) / MULTIPLY_ADDS;
    for_each_block(output, cost, PANEL, |block, rows, columns| product.run(block, rows, columns));
    // SAFETY: as above.
    unsafe { data.set_len(count * outputs) };
    data
}

struct Product<'a> {
    dot_product: DotProduct,
    rows: QuantizedRows,
    matrix: &'a Int8Matrix,
    epilogue: Epilogue<'a>,
}

impl Product<'_> {
    /// The block of these rows and columns, of which the first begins a panel.
    fn run(&self, block: &mut MatrixMut<'_>, rows: Range<usize>, columns: Range<usize>) {
        let stride = self.rows.stride;
        // Rows that fit into half a core's cache are multiplied with one panel after the other, so that a panel is
        // read from memory once for all of them.
        let cached = (BLOCK_BYTES / stride / TILE_ROWS).max(1) * TILE_ROWS;
        let panels = columns.start / PANEL..columns.end.div_ceil(PANEL);
        let mut sums: Sums = [[0; PANEL]; TILE_ROWS];
        for start in rows.clone().step_by(cached) {
            let end = (start + cached).min(rows.end);
            for panel in panels.clone() {
                let weights = self.matrix.panels(panel..panel + 1);
                for first in (start..end).step_by(TILE_ROWS) {
                    let count = TILE_ROWS.min(end - first);
                    let bytes = &self.rows.bytes[first * stride..];
                    self.dot_product.tile(bytes, stride, count, weights, &mut sums);
                    let width = PANEL.min(columns.end - panel * PANEL);
                    for (row, sums) in (first..).zip(&sums[..count]) {
                        let place = panel * PANEL - columns.start;
                        let output = &mut block.row(row - rows.start)[place..place + width];
                        self.finish(row, panel, &sums[..width], output);
                    }
                }
            }
        }
    }

    fn finish(&self, row: usize, panel: usize, sums: &[i32], output: &mut [f32]) {
        let of_row = (self.rows.zero_points[row], self.rows.scales[row]);
        scale_sums(sums, self.matrix.scales_and_sums(panel), of_row, output);
        let columns = panel * PANEL..panel * PANEL + output.len();
        self.epilogue.apply(output, row, columns, self.matrix.outputs());
    }
}

vectorized! {
    /// scale · (Σ x·w − zero point · Σ w)
    fn scale_sums(sums: &[i32], of_panel: (&[f32], &[i32]), of_row: (i32, f32), output: &mut [f32]) {
        let (zero_point, scale) = of_row;
        let weights = of_panel.0.iter().zip(of_panel.1);
        for ((output, &sum), (&weight_scale, &weight_sum)) in output.iter_mut().zip(sums).zip(weights) {
            // Exact until here. The zero point comes out of the sum at once: Σ (x − z)·w = Σ x·w − z·Σ w.
            *output = (sum - zero_point * weight_sum) as f32 * (scale * weight_scale);
        }
    }
}
