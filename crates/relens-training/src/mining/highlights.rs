//! What a reader of a mining run should see: where its ranks went, and samples of its records.

use std::collections::BTreeMap;

use super::record::MinedQuery;

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
