//! Is the difference of two runs more than chance? The paired bootstrap (Efron and Tibshirani 1993, chapter 16; for
//! retrieval: Sakai 2006): the same queries are drawn for both runs, with replacement, again and again.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::metrics::median;
use crate::error::{Error, Result};

/// What of the ranks is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// The share of queries ranked among the first k.
    RecallAt(usize),
    /// The median rank.
    MedianRank,
    /// The mean rank.
    MeanRank,
    /// The mean of 1 / rank.
    MeanReciprocalRank,
}

/// How the bootstrap draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BootstrapOptions {
    /// How often; default 2,000, enough for interval ends that are stable to a tenth of their width.
    pub samples: usize,
    /// Where the random numbers begin; the same seed gives the same interval on any number of threads.
    pub seed: u64,
    /// The interval's probability; default 0.95.
    pub confidence: f64,
}

impl Default for BootstrapOptions {
    fn default() -> Self {
        Self { samples: 2000, seed: 0, confidence: 0.95 }
    }
}

/// The difference of two runs, the second minus the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PairedBootstrap {
    /// The statistic's difference on all queries.
    pub difference: f64,
    /// The lower end of the interval (percentile method).
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// The share of queries that the second run ranks better.
    pub share_better: f64,
    /// The share that it ranks worse.
    pub share_worse: f64,
    /// The share with the same rank.
    pub share_unchanged: f64,
}

/// Compares the ranks of the same queries in two runs.
///
/// With `clusters` (one number for each query), whole clusters are drawn. For text→image pass
/// [`GroundTruthRanks::image_of_caption`](super::GroundTruthRanks): the five captions of a picture share its
/// difficulty, so that drawing them one by one would count one picture as five independent observations and give an
/// interval that is too narrow.
///
/// # Errors
/// [`Error::Argument`] if the runs have different or no queries, or the options make no interval.
pub fn paired_bootstrap(
    first: &[u32],
    second: &[u32],
    clusters: Option<&[usize]>,
    statistic: Statistic,
    options: &BootstrapOptions,
) -> Result<PairedBootstrap> {
    check(first, second, clusters, options)?;
    let members = cluster_members(first.len(), clusters);
    let mut differences: Vec<f64> = (0..options.samples as u64)
        .into_par_iter()
        .map(|sample| {
            // A stream for each sample makes the numbers independent of the threads.
            let mut random = ChaCha8Rng::seed_from_u64(options.seed);
            random.set_stream(sample);
            let drawn = (0..members.len()).map(|_| random.random_range(0..members.len()));
            let queries: Vec<usize> = drawn.flat_map(|cluster| members[cluster].iter().copied()).collect();
            statistic.of(second, &queries) - statistic.of(first, &queries)
        })
        .collect();
    differences.sort_by(f64::total_cmp);
    let tail = (1.0 - options.confidence) / 2.0;
    let all: Vec<usize> = (0..first.len()).collect();
    let share = |holds: fn(&u32, &u32) -> bool| {
        let count = first.iter().zip(second).filter(|(first, second)| holds(first, second)).count();
        count as f64 / first.len() as f64
    };
    Ok(PairedBootstrap {
        difference: statistic.of(second, &all) - statistic.of(first, &all),
        lower: quantile(&differences, tail),
        upper: quantile(&differences, 1.0 - tail),
        share_better: share(|first, second| second < first),
        share_worse: share(|first, second| second > first),
        share_unchanged: share(|first, second| second == first),
    })
}

impl Statistic {
    fn of(self, ranks: &[u32], queries: &[usize]) -> f64 {
        let drawn = || queries.iter().filter_map(|&query| ranks.get(query).copied());
        let mean = |sum: f64| sum / queries.len() as f64;
        match self {
            Self::RecallAt(k) => mean(drawn().filter(|&rank| rank as usize <= k).count() as f64),
            Self::MedianRank => median(&mut drawn().collect::<Vec<_>>()),
            Self::MeanRank => mean(drawn().map(f64::from).sum()),
            Self::MeanReciprocalRank => mean(drawn().map(|rank| 1.0 / f64::from(rank)).sum()),
        }
    }
}

/// The queries of each cluster; each query alone without clusters.
fn cluster_members(queries: usize, clusters: Option<&[usize]>) -> Vec<Vec<usize>> {
    let Some(clusters) = clusters else { return (0..queries).map(|query| vec![query]).collect() };
    let mut members = std::collections::BTreeMap::<usize, Vec<usize>>::new();
    for (query, &cluster) in clusters.iter().enumerate() {
        members.entry(cluster).or_default().push(query);
    }
    members.into_values().collect()
}

/// The value below which a share of the sorted values lies, between neighbours linearly.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

fn check(
    first: &[u32],
    second: &[u32],
    clusters: Option<&[usize]>,
    options: &BootstrapOptions,
) -> Result<()> {
    let argument = |expected: &str, found: String| {
        Err(Error::Argument { operation: "paired_bootstrap", expected: expected.to_owned(), found })
    };
    let clustered = clusters.map_or(first.len(), <[usize]>::len);
    if first.is_empty() || first.len() != second.len() || first.len() != clustered {
        let found = format!("{}, {} and {clustered}", first.len(), second.len());
        return argument("the same number of queries, at least one, in both runs and the clusters", found);
    }
    if first.contains(&0) || second.contains(&0) {
        return argument("ranks from 1", "a rank of 0".to_owned());
    }
    if options.samples == 0 || !(options.confidence > 0.0 && options.confidence < 1.0) {
        let found = format!("{} samples, confidence {}", options.samples, options.confidence);
        return argument("at least one sample and a confidence between 0 and 1", found);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: BootstrapOptions = BootstrapOptions { samples: 1000, seed: 7, confidence: 0.95 };

    /// Ranks with a share `good` of ones, spread evenly.
    fn ranks(count: usize, good: usize) -> Vec<u32> {
        (0..count).map(|query| if query * 37 % 100 < good { 1 } else { 50 }).collect()
    }

    #[test]
    fn a_run_against_itself_shows_no_difference() {
        let run = ranks(100, 30);
        let result = paired_bootstrap(&run, &run, None, Statistic::RecallAt(1), &OPTIONS).unwrap();
        assert_eq!((result.difference, result.lower, result.upper), (0.0, 0.0, 0.0));
        assert_eq!(result.share_unchanged, 1.0);
    }

    #[test]
    fn the_interval_is_as_wide_as_theory_says() {
        // 10 % of the queries improve: the difference's standard error is sqrt(0.1 · 0.9 / 1000) = 0.0095.
        let (first, second) = (ranks(1000, 30), ranks(1000, 40));
        let result = paired_bootstrap(&first, &second, None, Statistic::RecallAt(1), &OPTIONS).unwrap();
        assert!((result.difference - 0.1).abs() < 1e-12);
        assert!((result.lower - (0.1 - 1.96 * 0.0095)).abs() < 0.003, "{result:?}");
        assert!((result.upper - (0.1 + 1.96 * 0.0095)).abs() < 0.003, "{result:?}");
        assert_eq!((result.share_better, result.share_worse, result.share_unchanged), (0.1, 0.0, 0.9));
    }

    #[test]
    fn captions_that_move_together_make_the_interval_wider() {
        let of_images = |good| ranks(200, good).into_iter().flat_map(|rank| [rank; 5]).collect::<Vec<_>>();
        let clusters: Vec<usize> = (0..1000).map(|caption| caption / 5).collect();
        let (first, second) = (of_images(30), of_images(40));
        let width = |clusters| {
            let result =
                paired_bootstrap(&first, &second, clusters, Statistic::RecallAt(1), &OPTIONS).unwrap();
            result.upper - result.lower
        };
        let ratio = width(Some(&clusters)) / width(None);
        assert!((ratio - 5f64.sqrt()).abs() < 0.3, "{ratio}");
    }

    #[test]
    fn the_seed_decides_whatever_the_threads() {
        let (first, second) = (ranks(300, 30), ranks(300, 35));
        let run = |seed| {
            let options = BootstrapOptions { seed, ..OPTIONS };
            paired_bootstrap(&first, &second, None, Statistic::MeanReciprocalRank, &options).unwrap()
        };
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| run(1));
        assert_eq!(run(1), alone);
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn each_statistic_is_what_its_name_says() {
        let (first, second) = ([2, 4, 8], [1, 4, 10]);
        let difference =
            |statistic| paired_bootstrap(&first, &second, None, statistic, &OPTIONS).unwrap().difference;
        assert_eq!(difference(Statistic::MedianRank), 0.0);
        assert!((difference(Statistic::MeanRank) - 1.0 / 3.0).abs() < 1e-12);
        assert!((difference(Statistic::MeanReciprocalRank) - (0.5 - 0.025) / 3.0).abs() < 1e-12);
        assert_eq!(difference(Statistic::RecallAt(1)), 1.0 / 3.0);
    }

    #[test]
    fn runs_that_cannot_be_compared_are_refused() {
        let bootstrap = |first: &[u32], second: &[u32], clusters: Option<&[usize]>| {
            paired_bootstrap(first, second, clusters, Statistic::MeanRank, &OPTIONS)
        };
        assert!(bootstrap(&[], &[], None).is_err());
        assert!(bootstrap(&[1], &[1, 2], None).is_err());
        assert!(bootstrap(&[1], &[0], None).is_err());
        assert!(bootstrap(&[1], &[1], Some(&[1, 2])).is_err());
        let options = BootstrapOptions { samples: 0, ..OPTIONS };
        assert!(paired_bootstrap(&[1], &[1], None, Statistic::MeanRank, &options).is_err());
    }
}
