//! Rows times a quantised matrix.

use super::super::instruction_set::vectorized;
use super::super::matmul::{Matrix, MatrixMut, multiply as multiply_dense, multiply_parallel};
use super::super::parallel::for_row_blocks;
use super::QuantizedMatrix;
use super::ggml::{BLOCK, QuantizedFormat, widen_q4, widen_q8};

/// Rows up to which elements are widened in registers, once for all rows.
const FEW_ROWS: usize = 4;

/// Outputs whose elements are widened into the cache at once where there are more rows.
const TILE: usize = 48;

/// Running sums: the halves of a block.
const LANES: usize = BLOCK / 2;

/// x·W: `[rows, inputs]` to `[rows, outputs]`.
pub(super) fn multiply(x: &[f32], matrix: &QuantizedMatrix) -> Vec<f32> {
    let (inputs, outputs) = (matrix.inputs(), matrix.outputs());
    let rows = x.len() / inputs;
    // Transposed, so that what a thread writes lies together.
    let mut output = vec![0.0f32; rows * outputs];
    // Memory limits few rows: widening an element costs about as much as four multiply-adds.
    let cost = if rows <= FEW_ROWS { inputs / 2 } else { inputs / 16 };
    for_row_blocks(&mut output, rows, cost, |first, columns| {
        if rows <= FEW_ROWS {
            multiply_few(x, matrix, first, columns);
        } else {
            multiply_tiles(x, matrix, first, columns);
        }
    });
    if rows == 1 { output } else { transpose(&output, outputs, rows) }
}

/// g·Wᵀ: `[rows, outputs]` to `[rows, inputs]`.
pub(super) fn multiply_transposed(upstream: &[f32], matrix: &QuantizedMatrix) -> Vec<f32> {
    let (inputs, outputs) = (matrix.inputs(), matrix.outputs());
    let rows = upstream.len() / outputs;
    // A backward pass has many rows, over which widening the whole matrix is spread.
    let widened = matrix.widened();
    let mut gradient = vec![0.0f32; rows * inputs];
    let left = Matrix::new(upstream, rows, outputs, outputs);
    let right = Matrix::new(&widened, outputs, inputs, inputs);
    multiply_parallel(MatrixMut::new(&mut gradient, rows, inputs), left, right, |_, _, _| {});
    gradient
}

fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut transposed = Vec::with_capacity(values.len());
    for column in 0..columns {
        transposed.extend((0..rows).map(|row| values[row * columns + column]));
    }
    transposed
}

/// The outputs from `first` on, each for up to [`FEW_ROWS`] rows.
fn multiply_few(x: &[f32], matrix: &QuantizedMatrix, first: usize, columns: &mut [f32]) {
    let inputs = matrix.inputs();
    let rows = x.len() / inputs;
    let (quants, scales, minimums) = matrix.rows(first..first + columns.len() / rows);
    let weights = (quants, scales, minimums);
    match matrix.format() {
        QuantizedFormat::Q8 => multiply_q8(x, weights, (rows, inputs), columns),
        QuantizedFormat::Q4 => multiply_q4(x, weights, (rows, inputs), columns),
    }
}

/// Dot products of one row of the matrix, block by block, with `ROWS` rows of `x`.
macro_rules! dot_rows {
    ($rows:literal, $x:expr, $inputs:expr, $blocks:expr, |$block:pat_param| $widen:expr, $output:expr) => {{
        // Every row of the matrix is widened once and multiplied with all rows of x while it is in registers.
        let mut sums = [[0.0f32; LANES]; $rows];
        for (i, $block) in $blocks.enumerate() {
            let weights = $widen;
            for (row, sums) in sums.iter_mut().enumerate() {
                let start = row * $inputs + i * BLOCK;
                let x = &$x[start..start + BLOCK];
                // In two halves that share their sums: as many running values as one register of AVX-512 holds.
                for lane in 0..LANES {
                    sums[lane] = x[lane].mul_add(weights[lane], sums[lane]);
                }
                for lane in 0..LANES {
                    sums[lane] = x[lane + LANES].mul_add(weights[lane + LANES], sums[lane]);
                }
            }
        }
        for (output, sums) in $output.iter_mut().zip(sums) {
            *output = sums.iter().sum();
        }
    }};
}

/// Dispatches on the number of rows, so that all loops over them have a fixed length.
macro_rules! for_rows {
    ($rows:expr, $x:expr, $inputs:expr, $blocks:expr, |$block:pat_param| $widen:expr, $output:expr) => {
        match $rows {
            1 => dot_rows!(1, $x, $inputs, $blocks, |$block| $widen, $output),
            2 => dot_rows!(2, $x, $inputs, $blocks, |$block| $widen, $output),
            3 => dot_rows!(3, $x, $inputs, $blocks, |$block| $widen, $output),
            _ => dot_rows!(4, $x, $inputs, $blocks, |$block| $widen, $output),
        }
    };
}

vectorized! {
    fn multiply_q8(x: &[f32], weights: (&[u8], &[f32], &[f32]), sizes: (usize, usize), outputs: &mut [f32]) {
        let (rows, inputs) = sizes;
        let quants = weights.0.chunks_exact(inputs).zip(weights.1.chunks_exact(inputs / BLOCK));
        for (output, (quants, scales)) in outputs.chunks_exact_mut(rows).zip(quants) {
            let blocks = quants.as_chunks::<BLOCK>().0.iter().zip(scales);
            for_rows!(rows, x, inputs, blocks, |(quants, scale)| widen_q8(quants, *scale), output);
        }
    }

    fn multiply_q4(x: &[f32], weights: (&[u8], &[f32], &[f32]), sizes: (usize, usize), outputs: &mut [f32]) {
        let (rows, inputs) = sizes;
        let factors = weights.1.chunks_exact(inputs / BLOCK).zip(weights.2.chunks_exact(inputs / BLOCK));
        let quants = weights.0.chunks_exact(inputs / 2).zip(factors);
        for (output, (quants, (scales, minimums))) in outputs.chunks_exact_mut(rows).zip(quants) {
            let blocks = quants.as_chunks::<LANES>().0.iter().zip(scales.iter().zip(minimums));
            for_rows!(
                rows,
                x,
                inputs,
                blocks,
                |(quants, (scale, minimum))| widen_q4(quants, *scale, *minimum),
                output
            );
        }
    }
}

/// The outputs from `first` on for many rows: tiles of the matrix are widened and multiplied.
fn multiply_tiles(x: &[f32], matrix: &QuantizedMatrix, first: usize, columns: &mut [f32]) {
    let inputs = matrix.inputs();
    let rows = x.len() / inputs;
    // With many rows the product is limited by arithmetic: a tile is widened once, and a dense kernel does the rest.
    let mut widened = vec![0.0f32; TILE * inputs];
    for (tile, columns) in columns.chunks_mut(TILE * rows).enumerate() {
        let (start, count) = (first + tile * TILE, columns.len() / rows);
        let widened = &mut widened[..count * inputs];
        matrix.decode(start..start + count, widened);
        let left = Matrix::new(widened, count, inputs, inputs);
        let right = Matrix::new(x, rows, inputs, inputs).transposed();
        multiply_dense(&mut MatrixMut::new(columns, count, rows), left, right, 1.0, false);
    }
}
