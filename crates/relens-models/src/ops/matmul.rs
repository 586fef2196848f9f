//! Matrix products in f32: the one place that calls the `gemm` crate, and decides how to split a product over threads.

use std::marker::PhantomData;
use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

use super::parallel::task_count;

/// A matrix inside a slice, with any strides.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after the other, `row_stride` apart.
    ///
    /// # Panics
    /// When the matrix does not lie inside of `data`: every caller derives both from checked tensor shapes.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(
            rows == 0 || columns == 0 || (rows - 1) * row_stride + columns <= data.len(),
            "a {rows}x{columns} matrix with row stride {row_stride} does not fit {} elements",
            data.len()
        );
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    fn row_range(self, range: Range<usize>) -> Self {
        assert!(range.end <= self.rows);
        // An empty matrix may begin behind its data.
        let start = (range.start * self.row_stride).min(self.data.len());
        Self { data: &self.data[start..], rows: range.len(), ..self }
    }

    fn column_range(self, range: Range<usize>) -> Self {
        // Rows and columns differ in their strides alone.
        self.transposed().row_range(range).transposed()
    }
}

/// A matrix to be written, row by row, `row_stride` apart; it may share its rows' memory with blocks beside it.
pub(crate) struct MatrixMut<'a> {
    data: *mut f32,
    rows: usize,
    columns: usize,
    row_stride: usize,
    memory: PhantomData<&'a mut [f32]>,
}

// SAFETY: a `MatrixMut` is a unique borrow of its elements, as `&mut [f32]` is; blocks never overlap.
unsafe impl Send for MatrixMut<'_> {}
// SAFETY: a shared `MatrixMut` gives access to nothing.
unsafe impl Sync for MatrixMut<'_> {}

impl<'a> MatrixMut<'a> {
    /// A contiguous matrix over the whole slice.
    ///
    /// # Panics
    /// When the slice has another length than `rows · columns`.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns);
        Self { data: data.as_mut_ptr(), rows, columns, row_stride: columns, memory: PhantomData }
    }

    /// A block given by its first element.
    ///
    /// # Safety
    /// All elements of the block must be valid for writes during `'a`, and nothing else may touch them.
    pub(crate) unsafe fn from_raw(data: *mut f32, rows: usize, columns: usize, row_stride: usize) -> Self {
        Self { data, rows, columns, row_stride, memory: PhantomData }
    }

    /// Row `i` of the block.
    pub(crate) fn row(&mut self, i: usize) -> &mut [f32] {
        assert!(i < self.rows);
        // SAFETY: the row lies inside of the block, which `self` borrows uniquely.
        unsafe { std::slice::from_raw_parts_mut(self.data.wrapping_add(i * self.row_stride), self.columns) }
    }

    /// Disjoint blocks of at most `size` rows, with their row ranges.
    fn split_rows(self, size: usize) -> Vec<(Range<usize>, MatrixMut<'a>)> {
        ranges(self.rows, size)
            .map(|range| {
                let data = self.data.wrapping_add(range.start * self.row_stride);
                (range.clone(), Self { data, rows: range.len(), ..self })
            })
            .collect()
    }

    /// Disjoint blocks of at most `size` columns, with their column ranges.
    fn split_columns(self, size: usize) -> Vec<(Range<usize>, MatrixMut<'a>)> {
        ranges(self.columns, size)
            .map(|range| {
                let data = self.data.wrapping_add(range.start);
                (range.clone(), Self { data, columns: range.len(), ..self })
            })
            .collect()
    }
}

fn ranges(length: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(size.max(1)).map(move |start| start..(start + size).min(length))
}

/// output ← scale · left · right (+ output if `accumulate`), on the calling thread.
pub(crate) fn multiply(
    output: &mut MatrixMut<'_>,
    left: Matrix<'_>,
    right: Matrix<'_>,
    scale: f32,
    accumulate: bool,
) {
    let (m, n, k) = (output.rows, output.columns, left.columns);
    assert!(left.rows == m && right.columns == n && right.rows == k, "the matrices do not fit each other");
    // SAFETY: the constructors checked that every matrix lies inside of its memory, `output` is borrowed uniquely, and
    // with `read_dst` off the old (perhaps uninitialised) values of the output are never read.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            output.data,
            1,
            output.row_stride as isize,
            accumulate,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            // Threads are split by `for_each_block`, which knows what follows the product.
            Parallelism::None,
        );
    }
}

/// Rows of a product below which splitting its columns over threads is faster than splitting its rows.
const ROWS_WORTH_SPLITTING: usize = 96;

/// Columns handed to one thread are a multiple of this, the width of the widest kernel.
const COLUMN_MULTIPLE: usize = 48;

/// output ← left · right over all threads; `finish(block, rows, columns)` sees every block while it is in the cache.
pub(crate) fn multiply_parallel(
    output: MatrixMut<'_>,
    left: Matrix<'_>,
    right: Matrix<'_>,
    finish: impl Fn(&mut MatrixMut<'_>, Range<usize>, Range<usize>) + Sync,
) {
    // A core multiplies and adds sixteen pairs at once where it has the widest registers.
    let cost = output.rows.saturating_mul(output.columns).saturating_mul(left.columns) / 16;
    for_each_block(output, cost, COLUMN_MULTIPLE, |block, rows, columns| {
        let (left, right) = (left.row_range(rows.clone()), right.column_range(columns.clone()));
        multiply(block, left, right, 1.0, false);
        finish(block, rows, columns);
    });
}

/// Calls `work(block, rows, columns)` on blocks that cover a product of this `cost`, one for each thread: blocks of
/// rows, or, where there are few, of columns, as many as a multiple of `column_multiple`.
pub(crate) fn for_each_block(
    output: MatrixMut<'_>,
    cost: usize,
    column_multiple: usize,
    work: impl Fn(&mut MatrixMut<'_>, Range<usize>, Range<usize>) + Sync,
) {
    let (rows, columns) = (output.rows, output.columns);
    // One block for each thread: smaller ones would pack the shared factor more often than they balance.
    let tasks = task_count(cost).min(rayon::current_num_threads());
    if tasks == 1 {
        let mut output = output;
        work(&mut output, 0..rows, 0..columns);
    // Blocks of rows share the right factor, blocks of columns the left one. With few rows the right factor is the
    // larger, and each part of it should be read by one thread alone.
    } else if rows >= ROWS_WORTH_SPLITTING {
        output.split_rows(rows.div_ceil(tasks)).into_par_iter().for_each(|(range, mut block)| {
            work(&mut block, range, 0..columns);
        });
    } else {
        let size = columns.div_ceil(tasks).next_multiple_of(column_multiple);
        output.split_columns(size).into_par_iter().for_each(|(range, mut block)| {
            work(&mut block, 0..rows, range);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| (((i + seed) * 7919 % 17) as f32) - 8.0).collect()
    }

    #[test]
    fn every_split_and_stride_equals_the_naive_product() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (10, 384, 96), (200, 130, 64), (300, 48, 300)] {
            let (left, right) = (numbers(m * k, 1), numbers(k * n, 5));
            let mut expected = vec![0.0f32; m * n];
            for i in 0..m {
                for j in 0..n {
                    expected[i * n + j] = (0..k).map(|l| left[i * k + l] * right[l * n + j]).sum();
                }
            }
            let mut output = vec![f32::NAN; m * n];
            let (a, b) = (Matrix::new(&left, m, k, k), Matrix::new(&right, k, n, n));
            multiply_parallel(MatrixMut::new(&mut output, m, n), a, b, |_, _, _| {});
            assert_eq!(output, expected, "{m}x{k} by {k}x{n}");

            let mut transposed = vec![0.0f32; m * n];
            multiply(&mut MatrixMut::new(&mut transposed, n, m), b.transposed(), a.transposed(), 2.0, true);
            for i in 0..m {
                for j in 0..n {
                    assert_eq!(transposed[j * m + i], 2.0 * expected[i * n + j]);
                }
            }
        }
    }

    #[test]
    fn the_epilogue_sees_every_column_once() {
        let (left, right) = (numbers(20 * 64, 2), numbers(64 * 1000, 3));
        let mut output = vec![0.0f32; 20 * 1000];
        let (a, b) = (Matrix::new(&left, 20, 64, 64), Matrix::new(&right, 64, 1000, 1000));
        multiply_parallel(MatrixMut::new(&mut output, 20, 1000), a, b, |block, _, columns| {
            for i in 0..20 {
                for (x, column) in block.row(i).iter_mut().zip(columns.clone()) {
                    *x = column as f32;
                }
            }
        });
        assert!(output.chunks_exact(1000).all(|row| row.iter().enumerate().all(|(j, &x)| x == j as f32)));
    }
}
