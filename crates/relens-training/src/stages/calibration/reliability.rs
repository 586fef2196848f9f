//! How well estimates hold: what was estimated beside what was so.

use relens::ranking::fit::FitConfig;
use serde::Serialize;

use super::Observation;

/// Bins of a reliability diagram, with as many estimates each.
const BINS: usize = 15;

/// Estimates that are near to each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// How many.
    pub count: usize,
    /// Their mean.
    pub estimated: f64,
    /// The share of them that fitted.
    pub found: f64,
}

/// How an estimate holds on queries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reliability {
    /// Captions, each with a picture that fits.
    pub captions: usize,
    /// Queries that nothing fits.
    pub absent: usize,
    /// The expected calibration error of all hits that are estimated.
    pub calibration_error: f64,
    /// The same of first hits alone.
    pub first_calibration_error: f64,
    /// The share of queries that nothing fits whose line stands at the top.
    pub absent_refused: f64,
    /// The share of captions whose picture is among the first hits but below the line.
    pub captions_lost: f64,
    /// The share of captions whose picture is among the first hits.
    pub captions_found: f64,
    /// The reliability diagram of all hits.
    pub bins: Vec<ReliabilityBin>,
    /// That of first hits alone.
    pub first_bins: Vec<ReliabilityBin>,
}

impl Reliability {
    pub(super) fn of(fit: &FitConfig, observations: &[Observation]) -> Self {
        let (mut all, mut first) = (Vec::new(), Vec::new());
        let (mut captions, mut refused, mut lost, mut found) = (0, 0, 0, 0);
        for observation in observations {
            let estimate = fit.estimate(observation.features, observation.leads.clone());
            let pairs = estimate.hits.iter().enumerate();
            let pairs: Vec<(f64, bool)> =
                pairs.map(|(rank, fits)| (*fits, observation.right == Some(rank))).collect();
            first.extend(pairs.first().copied());
            all.extend(pairs);
            captions += usize::from(observation.present);
            refused += usize::from(!observation.present && estimate.above_line == 0);
            if let Some(rank) = observation.right {
                found += 1;
                lost += usize::from(rank >= estimate.above_line);
            }
        }
        let absent = observations.len() - captions;
        let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
        let (bins, first_bins) = (bins(all), bins(first));
        Self {
            captions,
            absent,
            calibration_error: calibration_error(&bins),
            first_calibration_error: calibration_error(&first_bins),
            absent_refused: share(refused, absent),
            captions_lost: share(lost, captions),
            captions_found: share(found, captions),
            bins,
            first_bins,
        }
    }
}

fn bins(mut pairs: Vec<(f64, bool)>) -> Vec<ReliabilityBin> {
    pairs.sort_by(|left, right| left.0.total_cmp(&right.0));
    let bounds = (0..=BINS).map(|bin| bin * pairs.len() / BINS).collect::<Vec<_>>();
    let bin = |bounds: &[usize]| {
        let pairs = pairs.get(*bounds.first()?..*bounds.last()?).filter(|pairs| !pairs.is_empty())?;
        let count = pairs.len();
        let mean = |sum: f64| sum / count as f64;
        Some(ReliabilityBin {
            count,
            estimated: mean(pairs.iter().map(|pair| pair.0).sum()),
            found: mean(pairs.iter().filter(|pair| pair.1).count() as f64),
        })
    };
    bounds.windows(2).filter_map(bin).collect()
}

/// Σ over bins of the share of estimates times |estimated − found| (Naeini, Cooper and Hauskrecht, "Obtaining well
/// calibrated probabilities using Bayesian binning", AAAI 2015), with bins of as many estimates each.
fn calibration_error(bins: &[ReliabilityBin]) -> f64 {
    let total: usize = bins.iter().map(|bin| bin.count).sum();
    let apart = |bin: &ReliabilityBin| bin.count as f64 * (bin.estimated - bin.found).abs();
    bins.iter().map(apart).sum::<f64>() / total.max(1) as f64
}
