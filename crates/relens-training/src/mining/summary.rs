//! What mining found, in numbers: computed from the records alone, so that it is the same after a resumed run.

use std::collections::BTreeMap;

use serde::Serialize;

use super::record::MinedQuery;

/// The numbers of one strategy.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StrategySummary {
    /// Queries that were worked on.
    pub queries: u64,
    /// Of these, queries of low quality.
    pub low: u64,
    /// Low-quality queries with a rewrite of high quality.
    pub turned_high: u64,
    /// Queries with a rewrite that the retriever likes better.
    pub improved: u64,
    /// Rewrites that were kept.
    pub rewrites: u64,
    /// Sums over the low-quality queries that have a rewrite.
    pub rank_before_sum: u64,
    /// The same, with each one's best rewrite, or the query where that is better.
    pub rank_after_sum: u64,
    /// Sum of 1 / rank before.
    pub reciprocal_before: f64,
    /// Sum of 1 / rank after.
    pub reciprocal_after: f64,
    /// Kept rewrites of high quality by the turn in which they were written.
    pub accepted_by_turn: BTreeMap<u32, u64>,
    /// Dropped rewrites by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl StrategySummary {
    /// Share of the low-quality queries that have a rewrite of high quality.
    pub fn turned_share(&self) -> f64 {
        self.turned_high as f64 / self.low.max(1) as f64
    }

    /// Mean rank of the low-quality queries.
    pub fn mean_rank_before(&self) -> f64 {
        self.rank_before_sum as f64 / self.low.max(1) as f64
    }

    /// Mean rank of their best rewrites.
    pub fn mean_rank_after(&self) -> f64 {
        self.rank_after_sum as f64 / self.low.max(1) as f64
    }

    fn add(&mut self, mined: &MinedQuery, k: u32) {
        self.queries += 1;
        self.rewrites += mined.rewrites.len() as u64;
        let best = mined.rewrites.iter().map(|rewrite| rewrite.rank).min().unwrap_or(mined.low_rank);
        let after = best.min(mined.low_rank);
        let better = |rewrite: &super::record::MinedRewrite| {
            rewrite.rank < mined.low_rank || rewrite.rank == mined.low_rank && rewrite.score > mined.low_score
        };
        self.improved += u64::from(mined.rewrites.iter().any(better));
        if mined.low_rank > k {
            self.low += 1;
            self.turned_high += u64::from(mined.turned_high(k));
            self.rank_before_sum += u64::from(mined.low_rank);
            self.rank_after_sum += u64::from(after);
            self.reciprocal_before += 1.0 / f64::from(mined.low_rank);
            self.reciprocal_after += 1.0 / f64::from(after);
        }
        for rewrite in mined.rewrites.iter().filter(|rewrite| rewrite.rank <= k) {
            *self.accepted_by_turn.entry(rewrite.turn).or_default() += 1;
        }
        for (reason, count) in &mined.dropped {
            *self.dropped.entry(reason.clone()).or_default() += u64::from(*count);
        }
    }
}

/// The numbers of all strategies.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// What parts low from high quality.
    pub k: u32,
    /// By the strategy's name.
    pub strategies: BTreeMap<String, StrategySummary>,
}

impl Summary {
    /// Nothing yet.
    pub fn new(k: u32) -> Self {
        Self { k, strategies: BTreeMap::new() }
    }

    /// Counts a record.
    pub fn add(&mut self, mined: &MinedQuery) {
        self.strategies.entry(mined.strategy.name().to_owned()).or_default().add(mined, self.k);
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::mined;
    use super::*;

    #[test]
    fn ranks_are_counted_for_low_quality_queries_only() {
        let mut summary = Summary::new(1);
        summary.add(&mined("a#0"));
        let mut hopeless = mined("a#1");
        hopeless.rewrites.clear();
        summary.add(&hopeless);
        let mut high = mined("a#2");
        high.low_rank = 1;
        summary.add(&high);
        let found = &summary.strategies["challenge_response"];
        assert_eq!((found.queries, found.low, found.turned_high), (3, 2, 1));
        assert_eq!((found.mean_rank_before(), found.mean_rank_after()), (7.0, 4.0));
        assert_eq!(found.turned_share(), 0.5);
        assert_eq!(found.accepted_by_turn, BTreeMap::from([(1, 2)]));
        assert_eq!(found.dropped["too_long"], 3);
    }
}
