//! What mining found, in numbers: computed from the records alone, so that it is the same after a resumed run;
//! and what a reader should see of it: where its ranks went, and samples of its records.

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

/// Samples that are kept: the first records with rewrites, spread over the whole file.
const SAMPLES: usize = 24;

/// Collects what a report shows while records go by, in memory that does not grow with their number.
#[derive(Debug)]
pub struct Highlights {
    k: u32,
    /// Every n-th record is a sample; n doubles whenever there are twice as many as are wanted.
    every: u64,
    seen: u64,
    samples: Vec<MinedQuery>,
    before: BTreeMap<u32, u64>,
    after: BTreeMap<u32, u64>,
}

/// How many queries of low quality had their picture at these ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankBin {
    /// The first rank of the bin, a power of two; the next bin begins where this one ends.
    pub first_rank: u64,
    /// By the query as it was.
    pub before: u64,
    /// By its best rewrite, or the query where that is better.
    pub after: u64,
}

impl Highlights {
    /// Nothing yet; `k` parts low from high quality.
    pub fn new(k: u32) -> Self {
        Self { k, every: 1, seen: 0, samples: Vec::new(), before: BTreeMap::new(), after: BTreeMap::new() }
    }

    /// Takes a record in.
    pub fn add(&mut self, mined: &MinedQuery) {
        if mined.low_rank > self.k {
            let best = mined.rewrites.iter().map(|rewrite| rewrite.rank).min().unwrap_or(mined.low_rank);
            *self.before.entry(bin(mined.low_rank)).or_default() += 1;
            *self.after.entry(bin(best.min(mined.low_rank))).or_default() += 1;
        }
        if mined.rewrites.is_empty() {
            return;
        }
        if self.seen.is_multiple_of(self.every) {
            self.samples.push(mined.clone());
        }
        self.seen += 1;
        if self.samples.len() >= 2 * SAMPLES {
            let mut number = 0;
            self.samples.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// Records with rewrites, in the order of the file, from its beginning to its end.
    pub fn samples(&self) -> impl Iterator<Item = &MinedQuery> {
        let kept = self.samples.len();
        let shown = kept.min(SAMPLES);
        (0..shown).filter_map(move |number| self.samples.get(number * kept / shown))
    }

    /// The ranks, in bins that double: 1, 2–3, 4–7, ….
    pub fn ranks(&self) -> Vec<RankBin> {
        let last = self.before.keys().chain(self.after.keys()).copied().max().unwrap_or(0);
        let count = |of: &BTreeMap<u32, u64>, bin: u32| of.get(&bin).copied().unwrap_or(0);
        let bins = (0..=last).map(|bin| RankBin {
            first_rank: 1 << bin,
            before: count(&self.before, bin),
            after: count(&self.after, bin),
        });
        bins.collect()
    }
}

fn bin(rank: u32) -> u32 {
    rank.max(1).ilog2()
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

    #[test]
    fn samples_are_spread_over_the_file_and_ranks_are_binned() {
        let mut highlights = Highlights::new(1);
        for number in 0..500 {
            let mut query = mined(&format!("a.jpg#{number}"));
            query.query = format!("query {number}");
            highlights.add(&query);
        }
        let samples: Vec<&str> = highlights.samples().map(|mined| mined.query.as_str()).collect();
        assert_eq!((samples.len(), samples[0]), (SAMPLES, "query 0"));
        assert!(samples[SAMPLES - 1].starts_with("query 4"), "the end of the file is shown too: {samples:?}");
        assert_eq!(Highlights::new(1).samples().count(), 0);
        let ranks = highlights.ranks();
        assert_eq!(ranks.iter().map(|bin| bin.before).sum::<u64>(), 500);
        assert_eq!(ranks.iter().map(|bin| bin.after).sum::<u64>(), 500);
        assert!(ranks.iter().enumerate().all(|(bin, found)| found.first_rank == 1 << bin));
    }
}
