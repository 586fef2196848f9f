//! Relative positions: a learned bias on attention scores for every bucket of distances.

use candle_core::Tensor;

use super::T5Config;
use crate::parameters::Parameters;
use crate::{Result, ops};

/// A table of biases by bucket and head.
#[derive(Debug, Clone)]
pub(super) struct RelativePositionBias {
    table: Tensor,
    buckets: usize,
    max_distance: usize,
    bidirectional: bool,
}

impl RelativePositionBias {
    pub(super) fn load(parameters: &Parameters, config: &T5Config, bidirectional: bool) -> Result<Self> {
        let buckets = config.relative_attention_num_buckets;
        Ok(Self {
            table: parameters.tensor("weight", &[buckets, config.num_heads])?,
            buckets,
            max_distance: config.relative_attention_max_distance,
            bidirectional,
        })
    }

    pub(super) fn detached(&self) -> Self {
        Self { table: self.table.detach(), ..*self }
    }

    /// The biases of all distances from 1 − reach to reach − 1.
    ///
    /// # Shapes
    /// - output: `[heads, 2·reach − 1]`
    pub(super) fn by_distance(&self, reach: usize) -> Result<Tensor> {
        let reach = reach.max(1);
        let before = (1..reach).rev().map(|distance| self.bucket(distance, false));
        let after = (0..reach).map(|distance| self.bucket(distance, true));
        let ids: Vec<u32> = before.chain(after).collect();
        // By head, since a kernel works on one head at a time.
        Ok(ops::embedding(&self.table, &ids)?.t()?.contiguous()?)
    }

    /// The bucket of a key `distance` tokens after (or else before) the query: one bucket for every small distance,
    /// then ever wider ones up to the largest. A decoder never looks ahead: there, all that is after is one bucket.
    fn bucket(&self, distance: usize, after: bool) -> u32 {
        let (buckets, first, distance) = match (self.bidirectional, after && distance > 0) {
            (true, false) => (self.buckets / 2, 0, distance),
            (true, true) => (self.buckets / 2, self.buckets / 2, distance),
            (false, false) => (self.buckets, 0, distance),
            (false, true) => (self.buckets, 0, 0),
        };
        let exact = buckets / 2;
        if distance < exact {
            return (first + distance) as u32;
        }
        // In single precision as the reference implementation does it, so that the borders fall alike.
        let octaves = (distance as f32 / exact as f32).ln();
        let range = (self.max_distance as f64 / exact as f64).ln() as f32;
        let step = (octaves / range * (buckets - exact) as f32) as usize;
        (first + (exact + step).min(buckets - 1)) as u32
    }
}
