//! When and how a kernel is split over threads.
//!
//! Handing work to another thread costs microseconds, so a kernel whose whole cost is below [`GRAIN`] stays on the
//! calling thread: a single short query never pays for threads that it cannot use. Where partial sums are joined,
//! the blocks depend on the size of the input alone, so a result never depends on the number of threads.

use rayon::prelude::*;

use super::vector_math::add_row;

/// Cost, in multiply-adds that vectorise well, below which a second thread is slower than none.
const GRAIN: usize = 1 << 19;

/// Rows summed into one partial result by [`reduce_rows`].
const REDUCTION_ROWS: usize = 64;

/// How many tasks a total `cost` is worth: 1 for small work, a few per thread for large, so that uneven ones balance.
pub(crate) fn task_count(cost: usize) -> usize {
    (cost / GRAIN).clamp(1, 4 * rayon::current_num_threads().max(1))
}

/// Calls `kernel(first_row, rows)` on blocks of whole rows that cover `output`.
///
/// `cost_per_element` is the rough number of multiply-adds for one element of the output.
pub(crate) fn for_row_blocks<T: Send>(
    output: &mut [T],
    row_length: usize,
    cost_per_element: usize,
    kernel: impl Fn(usize, &mut [T]) + Sync,
) {
    if output.is_empty() || row_length == 0 {
        return;
    }
    let rows = output.len() / row_length;
    // Rows are written by one task each, so the split may depend on the threads without changing a bit.
    let tasks = task_count(output.len().saturating_mul(cost_per_element));
    if tasks == 1 {
        return kernel(0, output);
    }
    let block = rows.div_ceil(tasks);
    output.par_chunks_mut(block * row_length).enumerate().for_each(|(i, rows)| kernel(i * block, rows));
}

/// Sums what `kernel(rows, partial)` adds into a zeroed `partial` of `length` numbers, over all blocks of rows.
///
/// The blocks and the order of the final sum are fixed: the same input gives the same bits on any number of threads.
pub(crate) fn reduce_rows(
    rows: usize,
    length: usize,
    cost_per_row: usize,
    kernel: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    // Sums of floating-point numbers depend on their order: the blocks are cut by rows, never by threads.
    let block = |i: usize| (i * REDUCTION_ROWS)..((i + 1) * REDUCTION_ROWS).min(rows);
    let partial = |i: usize| {
        let mut partial = vec![0.0f32; length];
        kernel(block(i), &mut partial);
        partial
    };
    let blocks = rows.div_ceil(REDUCTION_ROWS);
    let partials: Vec<Vec<f32>> = if task_count(rows.saturating_mul(cost_per_row)) == 1 {
        (0..blocks).map(partial).collect()
    } else {
        (0..blocks).into_par_iter().map(partial).collect()
    };
    let mut partials = partials.into_iter();
    // In order, on one thread, for the same reason.
    let mut total = partials.next().unwrap_or_else(|| vec![0.0f32; length]);
    for partial in partials {
        add_row(&mut total, &partial);
    }
    total
}
