//! Rows, rounded to eight bits, times a matrix of eight bits.

use std::ops::Range;

use rayon::prelude::*;

use super::super::epilogue::Epilogue;
use super::super::instruction_set::vectorized;
use super::super::matmul::{MatrixMut, for_each_block};
use super::super::parallel::task_count;
use super::Int8Matrix;
use super::dot::{DotProduct, GROUP, ORIGIN, PANEL, Sums, TILE_ROWS};

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
    let product = Int8Product { dot_product, rows, matrix, epilogue };
    let mut data = Vec::with_capacity(count * outputs);
    // SAFETY: the capacity is reserved, and the blocks cover every element before anything reads it.
    let output = unsafe { MatrixMut::from_raw(data.as_mut_ptr(), count, outputs, outputs) };
    let cost = count.saturating_mul(outputs).saturating_mul(inputs) / MULTIPLY_ADDS;
    for_each_block(output, cost, PANEL, |block, rows, columns| product.run(block, rows, columns));
    // SAFETY: as above.
    unsafe { data.set_len(count * outputs) };
    data
}

struct Int8Product<'a> {
    dot_product: DotProduct,
    rows: QuantizedRows,
    matrix: &'a Int8Matrix,
    epilogue: Epilogue<'a>,
}

impl Int8Product<'_> {
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

/// The number of steps between a row's lowest and highest value.
const STEPS: f32 = 255.0;

/// Running extremes: a register of AVX-512.
const LANES: usize = 16;

/// Rough cost of an element in multiply-adds.
const COST: usize = 2;

/// Rows of bytes q that stand for scale · (q − zero point).
pub(super) struct QuantizedRows {
    /// A row every [`QuantizedRows::stride`] bytes.
    pub(super) bytes: Vec<u8>,
    pub(super) scales: Vec<f32>,
    pub(super) zero_points: Vec<i32>,
    pub(super) stride: usize,
}

impl QuantizedRows {
    /// Rounds rows of `inputs` values. A row that is not finite gets a scale that is not, so that it stays visible.
    pub(super) fn new(x: &[f32], inputs: usize) -> Self {
        let (count, stride) = (x.len() / inputs, inputs.next_multiple_of(GROUP));
        let mut rows = Self {
            bytes: vec![0; count * stride],
            scales: vec![0.0; count],
            zero_points: vec![0; count],
            stride,
        };
        let block = count.div_ceil(task_count(x.len().saturating_mul(COST))).max(1);
        let targets = rows.bytes.par_chunks_mut(block * stride).zip(rows.scales.par_chunks_mut(block));
        targets.zip(rows.zero_points.par_chunks_mut(block)).zip(x.par_chunks(block * inputs)).for_each(
            |(((bytes, scales), zero_points), x)| {
                quantize_rows(x, (inputs, stride), bytes, scales, zero_points);
            },
        );
        rows
    }
}

/// (lowest, highest, 0 · Σ): the range of a row, which always holds 0, and NaN if an element is not finite.
#[inline(always)]
fn range(row: &[f32]) -> (f32, f32, f32) {
    // The range begins at 0, so that 0 has a byte of its own: padding and ReLU's zeros stay exact.
    let (mut low, mut high, mut defect) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
    let chunks = row.chunks_exact(LANES);
    let tail = chunks.remainder();
    let mut take = |chunk: &[f32]| {
        for (((low, high), defect), &x) in low.iter_mut().zip(&mut high).zip(&mut defect).zip(chunk) {
            *low = if x < *low { x } else { *low };
            *high = if x > *high { x } else { *high };
            // 0 · x is 0 for every finite x, and NaN for all others: a test without a branch.
            *defect = x.mul_add(0.0, *defect);
        }
    };
    for chunk in chunks {
        take(chunk);
    }
    take(tail);
    let lowest = low.iter().fold(0.0f32, |a, &b| if b < a { b } else { a });
    let highest = high.iter().fold(0.0f32, |a, &b| if b > a { b } else { a });
    (lowest, highest, defect.iter().sum())
}

vectorized! {
    fn quantize_rows(
        x: &[f32],
        sizes: (usize, usize),
        bytes: &mut [u8],
        scales: &mut [f32],
        zero_points: &mut [i32],
    ) {
        let (inputs, stride) = sizes;
        let rows = x.chunks_exact(inputs).zip(bytes.chunks_exact_mut(stride));
        for ((row, bytes), (scale, zero_point)) in rows.zip(scales.iter_mut().zip(zero_points)) {
            let (lowest, highest, defect) = range(row);
            let width = highest - lowest;
            let inverse = if width > 0.0 { STEPS / width } else { 0.0 };
            // The zero point is a whole number, so that 0 is met exactly.
            let zero = (-lowest * inverse).round();
            // Bytes cannot be NaN; the scale can, and carries it through to every output of the row.
            *scale = width / STEPS + defect;
            *zero_point = zero as i32 - ORIGIN;
            for (byte, &x) in bytes.iter_mut().zip(row) {
                // Half a step is added and the fraction cut: the cheapest rounding for numbers that are not negative.
                let q = x.mul_add(inverse, zero + 0.5);
                // Written so that NaN becomes 0.
                let q = if q > 0.0 { q } else { 0.0 };
                let q = if q < STEPS { q } else { STEPS };
                // SAFETY: 0 ≤ q ≤ 255.
                *byte = (unsafe { q.to_int_unchecked::<i32>() } - ORIGIN) as u8;
            }
        }
    }
}
