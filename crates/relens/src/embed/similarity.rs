//! Dot products of many vectors, with the widest instructions that the processor has.
//!
//! Each pair is summed in one fixed order whatever block it falls in, so that the score of a query and an image is
//! the same bits alone, in a batch, and in an evaluation: ties stay ties.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Rows whose sums are kept in registers together; enough to hide the latency of a multiply-add.
const ROWS: usize = 4;
/// Queries that share each load of a row.
const QUERIES: usize = 2;

/// The dot product of two vectors, the same bits as in every batch of them.
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut product = [0.0];
    scores_batch(left, right, left.len(), &mut product);
    product[0]
}

/// Queries that one task compares.
const QUERIES_PER_TASK: usize = 16;

/// The dot products of every query with every row, on all threads.
///
/// # Shapes
/// - `queries`: `[m, dim]`, row-major
/// - `rows`: `[n, dim]`, row-major
/// - result: `[m, n]`, row-major
///
/// # Errors
/// [`Error::Argument`] if `dim` is 0 or does not divide the number of values.
pub fn score_matrix(queries: &[f32], rows: &[f32], dim: usize) -> Result<Vec<f32>> {
    if dim == 0 || !queries.len().is_multiple_of(dim) || !rows.len().is_multiple_of(dim) {
        return Err(Error::Argument {
            operation: "score_matrix",
            expected: format!("multiples of the dimension {dim} (at least 1)"),
            found: format!("{} and {} values", queries.len(), rows.len()),
        });
    }
    let (m, n) = (queries.len() / dim, rows.len() / dim);
    let mut scores = vec![0.0; m * n];
    if n > 0 {
        let blocks = queries.par_chunks(QUERIES_PER_TASK * dim);
        let out = scores.par_chunks_mut(QUERIES_PER_TASK * n);
        blocks.zip(out).for_each(|(queries, out)| scores_batch(queries, rows, dim, out));
    }
    Ok(scores)
}

/// The dot product of one query with every row.
///
/// # Shapes
/// - `query`: `[dim]`
/// - `rows`: `[n, dim]`, row-major
/// - `out`: `[n]`
pub(crate) fn scores(query: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    scores_batch(query, rows, dim, out);
}

/// The dot products of every query with every row.
///
/// # Shapes
/// - `queries`: `[m, dim]`, row-major
/// - `rows`: `[n, dim]`, row-major
/// - `out`: `[m, n]`, row-major
pub(crate) fn scores_batch(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    debug_assert!(dim > 0 || (queries.is_empty() && rows.is_empty()));
    if dim == 0 || out.is_empty() {
        return;
    }
    debug_assert_eq!(out.len(), (queries.len() / dim) * (rows.len() / dim));
    Arch::new().dispatch(ScoresBatch { queries, rows, dim, out });
}

struct ScoresBatch<'a> {
    queries: &'a [f32],
    rows: &'a [f32],
    dim: usize,
    out: &'a mut [f32],
}

impl WithSimd for ScoresBatch<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { queries, rows, dim, out } = self;
        let n = rows.len() / dim;
        // A block of rows stays in the first-level cache while all queries pass over it.
        for (block, block_rows) in rows.chunks(ROWS * dim).enumerate() {
            let first = block * ROWS;
            for (pair, pair_queries) in queries.chunks(QUERIES * dim).enumerate() {
                let query = pair * QUERIES;
                if block_rows.len() == ROWS * dim && pair_queries.len() == QUERIES * dim {
                    let sums = dot_block::<S, QUERIES, ROWS>(simd, pair_queries, block_rows, dim);
                    store_block(&sums, out, n, query, first);
                } else if block_rows.len() == ROWS * dim {
                    let sums = dot_block::<S, 1, ROWS>(simd, pair_queries, block_rows, dim);
                    store_block(&sums, out, n, query, first);
                } else {
                    for (i, one_query) in pair_queries.chunks_exact(dim).enumerate() {
                        for (j, one_row) in block_rows.chunks_exact(dim).enumerate() {
                            let sums = dot_block::<S, 1, 1>(simd, one_query, one_row, dim);
                            store_block(&sums, out, n, query + i, first + j);
                        }
                    }
                }
            }
        }
    }
}

/// The sums of `Q` queries with `R` rows, each over whole registers in order, then the rest.
#[inline(always)]
fn dot_block<S: Simd, const Q: usize, const R: usize>(
    simd: S,
    queries: &[f32],
    rows: &[f32],
    dim: usize,
) -> [[f32; R]; Q] {
    let queries: [&[f32]; Q] = std::array::from_fn(|i| &queries[i * dim..(i + 1) * dim]);
    let rows: [&[f32]; R] = std::array::from_fn(|j| &rows[j * dim..(j + 1) * dim]);
    let query_parts: [(&[S::f32s], &[f32]); Q] = queries.map(S::as_simd_f32s);
    let row_parts: [(&[S::f32s], &[f32]); R] = rows.map(S::as_simd_f32s);
    let whole = query_parts[0].0.len();
    let mut sums = [[simd.splat_f32s(0.0); R]; Q];
    for k in 0..whole {
        for i in 0..Q {
            for j in 0..R {
                sums[i][j] = simd.mul_add_e_f32s(query_parts[i].0[k], row_parts[j].0[k], sums[i][j]);
            }
        }
    }
    if !query_parts[0].1.is_empty() {
        for i in 0..Q {
            for j in 0..R {
                let (query, row) =
                    (simd.partial_load_f32s(query_parts[i].1), simd.partial_load_f32s(row_parts[j].1));
                sums[i][j] = simd.mul_add_e_f32s(query, row, sums[i][j]);
            }
        }
    }
    sums.map(|of_query| of_query.map(|sum| simd.reduce_sum_f32s(sum)))
}

#[inline(always)]
fn store_block<const Q: usize, const R: usize>(
    sums: &[[f32; R]; Q],
    out: &mut [f32],
    n: usize,
    query: usize,
    row: usize,
) {
    for (i, of_query) in sums.iter().enumerate() {
        out[(query + i) * n + row..][..R].copy_from_slice(of_query);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(query: &[f32], row: &[f32]) -> f64 {
        query.iter().zip(row).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }

    fn problem() -> impl Strategy<Value = (usize, Vec<f32>, Vec<f32>)> {
        (1usize..70, 0usize..6, 0usize..12).prop_flat_map(|(dim, m, n)| {
            let values = |count: usize| prop::collection::vec(-1.0f32..1.0, count);
            (Just(dim), values(m * dim), values(n * dim))
        })
    }

    proptest! {
        #[test]
        fn a_batch_equals_the_definition_and_each_pair_alone((dim, queries, rows) in problem()) {
            let (m, n) = (queries.len() / dim, rows.len() / dim);
            let mut batch = vec![f32::NAN; m * n];
            scores_batch(&queries, &rows, dim, &mut batch);
            for i in 0..m {
                for j in 0..n {
                    let (query, row) = (&queries[i * dim..][..dim], &rows[j * dim..][..dim]);
                    let mut alone = [f32::NAN];
                    scores(query, row, dim, &mut alone);
                    prop_assert_eq!(alone[0].to_bits(), batch[i * n + j].to_bits());
                    prop_assert!((f64::from(alone[0]) - naive(query, row)).abs() < 1e-4);
                }
            }
        }
    }
}
