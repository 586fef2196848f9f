//! What is added to a score for the distance between query and key.

use super::super::instruction_set::vectorized;
use super::super::matmul::MatrixMut;
use super::super::vector_math::add_assign;
use super::kernel::ColumnsMut;

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
    shares: ColumnsMut<'a>,
    span: usize,
}

impl<'a> DistanceBiasMut<'a> {
    pub(super) fn new(data: &'a mut [f32], length: usize, heads: usize) -> Self {
        Self { shares: ColumnsMut::whole(data, length), span: length / heads.max(1) }
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
