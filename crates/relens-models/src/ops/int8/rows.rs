//! Activations rounded to eight bits, row by row.

use rayon::prelude::*;

use super::super::instruction_set::vectorized;
use super::super::parallel::task_count;
use super::dot::{GROUP, ORIGIN};

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
