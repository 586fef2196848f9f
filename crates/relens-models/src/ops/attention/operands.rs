//! What attention reads and writes: heads as columns of packed rows, and what is added to a score for a distance.

use std::marker::PhantomData;
use std::ops::Range;

use super::super::instruction_set::vectorized;
use super::super::matmul::{Matrix, MatrixMut};
use super::super::vector_math::add_assign;

/// Some columns of a row-major matrix: one of query, key and value.
#[derive(Clone, Copy)]
pub(super) struct HeadColumns<'a> {
    data: &'a [f32],
    start: usize,
    stride: usize,
}

impl<'a> HeadColumns<'a> {
    pub(super) fn new(data: &'a [f32], start: usize, stride: usize) -> Self {
        Self { data, start, stride }
    }

    pub(super) fn start(&self) -> usize {
        self.start
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    pub(super) fn head(&self, rows: &Range<usize>, head: usize, head_dim: usize) -> Matrix<'a> {
        let first = (rows.start * self.stride + self.start + head * head_dim).min(self.data.len());
        Matrix::new(&self.data[first..], rows.len(), head_dim, self.stride)
    }
}

/// Some columns of a row-major matrix, written by many tasks, each on heads of its own.
pub(super) struct HeadColumnsMut<'a> {
    data: *mut f32,
    length: usize,
    start: usize,
    stride: usize,
    memory: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a borrow of its memory for writing; `head` is unsafe and obliges the caller to keep tasks apart.
unsafe impl Sync for HeadColumnsMut<'_> {}

impl<'a> HeadColumnsMut<'a> {
    pub(super) fn whole(data: &'a mut [f32], stride: usize) -> Self {
        Self { data: data.as_mut_ptr(), length: data.len(), start: 0, stride, memory: PhantomData }
    }

    /// Three groups of columns of one matrix.
    pub(super) fn side_by_side(data: &'a mut [f32], starts: [usize; 3], stride: usize) -> [Self; 3] {
        // Three views of one borrow: gradients of queries, keys and values lie in the same rows, as the inputs do.
        let (pointer, length) = (data.as_mut_ptr(), data.len());
        starts.map(|start| Self { data: pointer, length, start, stride, memory: PhantomData })
    }

    /// # Safety
    /// No other task may use this head of these rows meanwhile.
    pub(super) unsafe fn head(&self, rows: &Range<usize>, head: usize, head_dim: usize) -> MatrixMut<'_> {
        let first = rows.start * self.stride + self.start + head * head_dim;
        let end = first + rows.len().saturating_sub(1) * self.stride + head_dim;
        assert!(rows.is_empty() || end <= self.length, "a head outside of its matrix");
        // SAFETY: the assertion keeps the block inside of the borrowed memory; the caller keeps it unshared.
        unsafe { MatrixMut::from_raw(self.data.wrapping_add(first), rows.len(), head_dim, self.stride) }
    }
}

/// For every head a row of 2·reach − 1 numbers; the distance 0 stands in the middle.
#[derive(Clone, Copy)]
pub(super) struct DistanceBias<'a> {
    values: &'a [f32],
    span: usize,
}

impl<'a> DistanceBias<'a> {
    pub(super) fn new(values: &'a [f32], heads: usize) -> Self {
        Self { values, span: values.len() / heads.max(1) }
    }

    pub(super) fn head(&self, head: usize) -> &'a [f32] {
        &self.values[head * self.span..(head + 1) * self.span]
    }
}

/// The gradient of a [`DistanceBias`], one share for each sequence.
pub(super) struct DistanceBiasMut<'a> {
    shares: HeadColumnsMut<'a>,
    span: usize,
}

impl<'a> DistanceBiasMut<'a> {
    pub(super) fn new(data: &'a mut [f32], length: usize, heads: usize) -> Self {
        Self { shares: HeadColumnsMut::whole(data, length), span: length / heads.max(1) }
    }

    /// # Safety
    /// No other task may use this head of this sequence meanwhile.
    pub(super) unsafe fn head(&self, sequence: usize, head: usize) -> MatrixMut<'_> {
        // SAFETY: the caller's promise.
        unsafe { self.shares.head(&(sequence..sequence + 1), head, self.span) }
    }
}

/// Where in a head's row the bias of query `query` to key 0 stands; the last query stands at the last key.
#[inline(always)]
pub(super) fn first_distance(span: usize, query: usize, queries: usize, keys: usize) -> usize {
    // A cached row has more keys than queries, and its last query stands at its last key: query i is at position keys
    // − queries + i.
    span / 2 + queries - keys - query
}

vectorized! {
    /// scores[i, j] += bias[j − i]
    pub(super) fn add_bias(scores: &mut [f32], bias: &[f32], queries: usize, keys: usize) {
        for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
            add_assign(row, &bias[first_distance(bias.len(), i, queries, keys)..]);
        }
    }

    /// gradient[j − i] += score_gradients[i, j]
    pub(super) fn add_bias_gradient(
        score_gradients: &[f32],
        gradient: &mut [f32],
        queries: usize,
        keys: usize,
    ) {
        // Pairs at the same distance share a bias, so their gradients add up in it.
        let span = gradient.len();
        for (i, row) in score_gradients.chunks_exact(keys).enumerate() {
            add_assign(&mut gradient[first_distance(span, i, queries, keys)..], row);
        }
    }
}
