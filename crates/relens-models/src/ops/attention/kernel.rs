//! The work on one head, and how it is spread over threads.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::super::arguments::refuse;
use super::super::dropout::{DropoutMask, drop_elements};
use super::super::instruction_set::vectorized;
use super::super::matmul::{Matrix, MatrixMut, multiply};
use super::super::parallel::task_count;
use super::super::softmax::softmax_in_place;
use super::super::vector_math::dot;
use super::operands::{
    DistanceBias, DistanceBiasMut, HeadColumns, HeadColumnsMut, add_bias, add_bias_gradient,
};
use super::{AttentionConfig, AttentionMask};
use crate::Result;

/// Attention with its sizes checked.
pub(super) struct Kernel {
    heads: usize,
    key_value_heads: usize,
    head_dim: usize,
    mask: AttentionMask,
    scale: f32,
    dropout: Option<DropoutMask>,
    query_offsets: Arc<[usize]>,
    key_offsets: Arc<[usize]>,
}

/// One sequence and one key-value head, with the rows that they mean.
struct HeadTask {
    sequence: usize,
    queries: Range<usize>,
    keys: Range<usize>,
    key_value_head: usize,
    /// The task's place among all, which its dropout depends on.
    index: usize,
}

impl Kernel {
    pub(super) fn new(
        operation: &'static str,
        config: &AttentionConfig,
        head_dim: usize,
        query_offsets: &[usize],
        key_offsets: &[usize],
    ) -> Result<Self> {
        let &AttentionConfig { heads, key_value_heads, mask, scale, dropout } = config;
        if key_value_heads == 0 || heads % key_value_heads != 0 {
            let expected = format!("key-value heads that divide {heads} heads");
            return Err(refuse(operation, expected, format!("{key_value_heads}")));
        }
        if query_offsets.len() != key_offsets.len() {
            let expected = format!("keys for {} sequences", query_offsets.len() - 1);
            return Err(refuse(operation, expected, format!("{}", key_offsets.len() - 1)));
        }
        for (i, (q, k)) in query_offsets.windows(2).zip(key_offsets.windows(2)).enumerate() {
            let (queries, keys) = (q[1] - q[0], k[1] - k[0]);
            if queries > 0 && (keys == 0 || (mask == AttentionMask::Causal && keys < queries)) {
                let found = format!("{queries} queries and {keys} keys in sequence {i}");
                return Err(refuse(operation, "keys for every query", found));
            }
        }
        let scale = scale.unwrap_or(1.0 / (head_dim as f32).sqrt());
        if let Some(dropout) = dropout {
            dropout.check(operation)?;
        }
        let (query_offsets, key_offsets) = (query_offsets.into(), key_offsets.into());
        Ok(Self { heads, key_value_heads, head_dim, mask, scale, dropout, query_offsets, key_offsets })
    }

    pub(super) fn sequences(&self) -> usize {
        self.query_offsets.len() - 1
    }

    /// The longest sequence, of queries or keys.
    pub(super) fn longest(&self) -> usize {
        let lengths = |offsets: &[usize]| offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        lengths(&self.query_offsets).max(lengths(&self.key_offsets))
    }

    pub(super) fn heads(&self) -> usize {
        self.heads
    }

    pub(super) fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    pub(super) fn key_width(&self) -> usize {
        self.key_value_heads * self.head_dim
    }

    fn task(&self, index: usize) -> HeadTask {
        let (sequence, key_value_head) = (index / self.key_value_heads, index % self.key_value_heads);
        HeadTask {
            sequence,
            queries: self.query_offsets[sequence]..self.query_offsets[sequence + 1],
            keys: self.key_offsets[sequence]..self.key_offsets[sequence + 1],
            key_value_head,
            index,
        }
    }

    /// The query heads that share a key-value head.
    fn query_heads(&self, task: &HeadTask) -> Range<usize> {
        let group = self.heads / self.key_value_heads;
        task.key_value_head * group..(task.key_value_head + 1) * group
    }

    /// The dropout of one head of one sequence; every pair of them has a mask of its own.
    fn dropout_of(&self, task: &HeadTask, head: usize) -> Option<DropoutMask> {
        self.dropout.map(|mask| mask.fork((task.index * self.heads + head) as u64))
    }

    /// Runs `work` on all tasks, with buffers that a thread keeps from task to task.
    fn for_each_task(&self, passes: usize, work: impl Fn(&HeadTask, &mut [Vec<f32>; 3]) + Sync) {
        let tasks = (self.query_offsets.len() - 1) * self.key_value_heads;
        let pairs: usize = self
            .query_offsets
            .windows(2)
            .zip(self.key_offsets.windows(2))
            .map(|(q, k)| (q[1] - q[0]).saturating_mul(k[1] - k[0]))
            .sum();
        // The softmax of a score costs about as much as sixteen of the products that make it.
        let cost = pairs.saturating_mul(self.heads * passes * (self.head_dim / 2 + 16));
        let run = |range: Range<usize>| {
            // Scores of one head at a time, in buffers that only grow: nothing of quadratic size lives beyond its
            // task.
            let mut buffers = [const { Vec::new() }; 3];
            for index in range {
                let task = self.task(index);
                if !task.queries.is_empty() {
                    work(&task, &mut buffers);
                }
            }
        };
        let blocks = task_count(cost);
        if blocks == 1 {
            return run(0..tasks);
        }
        // Neighbouring tasks are heads of one sequence and read the same rows, so they stay on one thread.
        let block = tasks.div_ceil(blocks).max(1);
        (0..tasks.div_ceil(block)).into_par_iter().for_each(|i| run(i * block..((i + 1) * block).min(tasks)));
    }

    /// The probabilities of one head: softmax(scale · Q·Kᵀ + bias), masked keys at 0.
    fn probabilities(
        &self,
        query: Matrix<'_>,
        key: Matrix<'_>,
        bias: Option<&[f32]>,
        (queries, keys): (usize, usize),
        p: &mut [f32],
    ) {
        multiply(&mut MatrixMut::new(p, queries, keys), query, key.transposed(), self.scale, false);
        if let Some(bias) = bias {
            add_bias(p, bias, queries, keys);
        }
        let visible = match self.mask {
            AttentionMask::None => None,
            // Masked scores are computed and thrown away: one product over all pairs is faster than many over a
            // triangle.
            AttentionMask::Causal => Some(keys - queries + 1),
        };
        masked_softmax(p, keys, visible);
    }

    pub(super) fn forward(
        &self,
        [query, key, value]: [HeadColumns<'_>; 3],
        bias: Option<DistanceBias<'_>>,
    ) -> Vec<f32> {
        let tokens = self.query_offsets.last().copied().unwrap_or(0);
        let mut output = vec![0.0f32; tokens * self.query_width()];
        let output_columns = HeadColumnsMut::whole(&mut output, self.query_width());
        self.for_each_task(2, |task, [scores, ..]| {
            let size = (task.queries.len(), task.keys.len());
            scores.resize(size.0 * size.1, 0.0);
            let key = key.head(&task.keys, task.key_value_head, self.head_dim);
            let value = value.head(&task.keys, task.key_value_head, self.head_dim);
            for head in self.query_heads(task) {
                let bias = bias.map(|bias| bias.head(head));
                self.probabilities(query.head(&task.queries, head, self.head_dim), key, bias, size, scores);
                if let Some(mask) = self.dropout_of(task, head) {
                    drop_elements(mask, 0, scores);
                }
                // SAFETY: this task alone owns the query heads of its key-value head in its sequence.
                let mut out = unsafe { output_columns.head(&task.queries, head, self.head_dim) };
                multiply(&mut out, Matrix::new(scores, size.0, size.1, size.1), value, 1.0, false);
            }
        });
        output
    }

    /// With P the probabilities, D what dropout leaves of them, and G the gradient of the output: dV = Dᵀ·G,
    /// dD = G·Vᵀ, dS = D∘dD − P·rowsum(D∘dD), dQ = scale·dS·K, dK = scale·dSᵀ·Q. Without dropout D is P. The bias of
    /// a distance gets the sum of dS over all pairs that are so far apart.
    pub(super) fn backward(
        &self,
        [query, key, value]: [HeadColumns<'_>; 3],
        bias: Option<(DistanceBias<'_>, &DistanceBiasMut<'_>)>,
        upstream: &[f32],
        [dq, dk, dv]: &[HeadColumnsMut<'_>; 3],
    ) {
        let upstream = HeadColumns::new(upstream, 0, self.query_width());
        self.for_each_task(5, |task, [probabilities, dropped, score_gradients]| {
            let size @ (queries, keys) = (task.queries.len(), task.keys.len());
            probabilities.resize(queries * keys, 0.0);
            score_gradients.resize(queries * keys, 0.0);
            let k = key.head(&task.keys, task.key_value_head, self.head_dim);
            let v = value.head(&task.keys, task.key_value_head, self.head_dim);
            // SAFETY: this task alone owns its key-value head, and the query heads of it, in its sequence.
            let (mut dk, mut dv) = unsafe {
                let head = task.key_value_head;
                (dk.head(&task.keys, head, self.head_dim), dv.head(&task.keys, head, self.head_dim))
            };
            for head in self.query_heads(task) {
                let q = query.head(&task.queries, head, self.head_dim);
                let g = upstream.head(&task.queries, head, self.head_dim);
                // Computed again: kept from the forward pass, they would be the largest tensors of the network.
                self.probabilities(q, k, bias.map(|(bias, _)| bias.head(head)), size, probabilities);
                let dropped = match self.dropout_of(task, head) {
                    None => &*probabilities,
                    Some(mask) => {
                        dropped.clone_from(probabilities);
                        drop_elements(mask, 0, dropped);
                        &*dropped
                    }
                };
                // Accumulated: the query heads of a group share their key-value head, whose gradient is the sum of
                // theirs.
                multiply(&mut dv, Matrix::new(dropped, queries, keys, keys).transposed(), g, 1.0, true);
                multiply(&mut MatrixMut::new(score_gradients, queries, keys), g, v.transposed(), 1.0, false);
                softmax_gradient(score_gradients, probabilities, dropped, keys);
                if let Some((_, gradient)) = bias {
                    // SAFETY: this task alone owns its sequence's share of the query heads' bias.
                    let mut share = unsafe { gradient.head(task.sequence, head) };
                    add_bias_gradient(score_gradients, share.row(0), queries, keys);
                }
                let ds = Matrix::new(score_gradients, queries, keys, keys);
                // SAFETY: as above.
                let mut dq = unsafe { dq.head(&task.queries, head, self.head_dim) };
                multiply(&mut dq, ds, k, self.scale, false);
                multiply(&mut dk, ds.transposed(), q, self.scale, true);
            }
        });
    }
}

vectorized! {
    /// Softmax over the keys that a query sees: all of them, or `visible` in the first row and one more in each next.
    fn masked_softmax(scores: &mut [f32], keys: usize, visible: Option<usize>) {
        for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
            let (seen, hidden) = row.split_at_mut(visible.map_or(keys, |visible| visible + i));
            softmax_in_place(seen);
            // Not −∞ before the softmax: the exponentials of hidden keys are not worth computing.
            hidden.fill(0.0);
        }
    }

    /// Turns the gradients of the dropped-out probabilities into those of the scores, row by row.
    fn softmax_gradient(gradients: &mut [f32], probabilities: &[f32], dropped: &[f32], keys: usize) {
        let rows = probabilities.chunks_exact(keys).zip(dropped.chunks_exact(keys));
        for (gradients, (probabilities, dropped)) in gradients.chunks_exact_mut(keys).zip(rows) {
            // rowsum(D∘dD) equals rowsum(P∘dP), since dP is what dropout leaves of dD.
            let shared = dot(gradients, dropped);
            for (g, (&p, &d)) in gradients.iter_mut().zip(probabilities.iter().zip(dropped)) {
                *g = (-p).mul_add(shared, d * *g);
            }
        }
    }
}
