//! The best k of a stream of scores, by partial selection.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// A vector found, and how near it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The number under which the vector was added.
    pub id: u64,
    /// Its dot product with the query.
    pub score: f32,
}

impl Hit {
    /// Best first: higher score, then lower id, so that the order never depends on threads or storage.
    ///
    /// Scores are finite here; `total_cmp` is not used because it would part 0 from −0.
    pub fn ranking_order(&self, other: &Self) -> Ordering {
        other.score.partial_cmp(&self.score).unwrap_or(Ordering::Equal).then(self.id.cmp(&other.id))
    }
}

/// Keeps the best `k` hits in a buffer of twice that size, cut back by selection whenever it is full: each hit costs
/// one comparison in the common case, and amortised O(1) otherwise.
#[derive(Debug, Clone)]
pub(crate) struct TopK {
    k: usize,
    hits: Vec<Hit>,
    /// The k-th best at the last cut: what is worse cannot come back.
    worst_kept: Option<Hit>,
}

impl TopK {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, hits: Vec::new(), worst_kept: None }
    }

    pub(crate) fn push(&mut self, hit: Hit) {
        if self.worst_kept.is_some_and(|worst| hit.ranking_order(&worst).is_ge()) {
            return;
        }
        self.hits.push(hit);
        if self.hits.len() >= self.k.saturating_mul(2).max(64) {
            self.cut();
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        other.hits.into_iter().for_each(|hit| self.push(hit));
    }

    /// The best `k`, best first.
    pub(crate) fn into_sorted(mut self) -> Vec<Hit> {
        self.cut();
        self.hits.sort_unstable_by(Hit::ranking_order);
        self.hits
    }

    fn cut(&mut self) {
        if self.k == 0 {
            self.hits.clear();
        } else if self.hits.len() > self.k {
            let (_, kth, _) = self.hits.select_nth_unstable_by(self.k - 1, Hit::ranking_order);
            self.worst_kept = Some(*kth);
            self.hits.truncate(self.k);
        }
    }
}
