//! The logistic models of an estimate, and what they make of an answer.

use serde::{Deserialize, Serialize};

use super::QueryFeatures;
use crate::error::{Error, Result};
use crate::index::Hit;

/// How many of the best hits a hit is compared with.
pub const COMPARED_HITS: usize = 10;
/// A query that is equally near to all reference pictures, of which there may be one, still has a lead.
const SMALLEST_SPREAD: f64 = 1e-3;

/// The three logistic models.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitConfig {
    /// The logit that anything fits where all of [`QueryFeatures`] are 0.
    pub bias: f64,
    /// The weight of [`QueryFeatures::similarity`].
    pub similarity: f64,
    /// The weight of [`QueryFeatures::familiarity`].
    pub familiarity: f64,
    /// The weight of [`QueryFeatures::unseen`].
    pub unseen: f64,
    /// The weight of [`QueryFeatures::spread`]. Default 0.
    #[serde(default)]
    pub spread: f64,
    /// The weight of [`QueryFeatures::pictures`]. Default 0.
    #[serde(default)]
    pub pictures: f64,
    /// Where anything fits with a probability below this, all hits stand below the line: 0 to 1.
    pub anything_line: f64,
    /// Where a hit and all behind it fit with a probability below this, they stand below the line: 0 to 1.
    pub hit_line: f64,
    /// Whether the first hit is the one that was meant.
    pub first_hit: HitFitConfig,
    /// The same of the hits behind it.
    pub other_hits: HitFitConfig,
}

/// The logistic model of a hit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HitFitConfig {
    /// The logit where all else is 0.
    pub bias: f64,
    /// The weight of the hit's lead, in units of [`QueryFeatures::spread`].
    pub lead: f64,
    /// The weight of that lead times [`QueryFeatures::pictures`]: the more pictures, the more a lead says. Default 0.
    #[serde(default)]
    pub lead_pictures: f64,
    /// The weight of the logarithm of the probability that anything fits. Default 1.
    #[serde(default = "one")]
    pub anything: f64,
    /// The weight of [`QueryFeatures::pictures`]. Default 0.
    #[serde(default)]
    pub pictures: f64,
}

fn one() -> f64 {
    1.0
}

/// Estimates of one answer, and what they come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitEstimate {
    /// What is known about the query.
    pub features: QueryFeatures,
    /// How far each hit's score is above the mean of the other best hits.
    pub leads: Vec<f64>,
    /// The probability that any picture is what was asked for.
    pub anything: f64,
    /// The probability of each hit.
    pub hits: Vec<f64>,
    /// How many hits stand above the line below which probably nothing fits.
    pub above_line: usize,
}

impl FitConfig {
    /// The probability that anything fits.
    pub fn anything(&self, features: &QueryFeatures) -> f64 {
        let weights = [self.similarity, self.familiarity, self.unseen, self.spread, self.pictures];
        let weighted = weights.iter().zip(features.values()).map(|(weight, value)| weight * value);
        logistic(self.bias + weighted.sum::<f64>())
    }

    /// The estimates of an answer from its query and the leads of its hits, best first.
    pub fn estimate(&self, features: QueryFeatures, leads: Vec<f64>) -> FitEstimate {
        let anything = self.anything(&features);
        let mut hits: Vec<f64> = Vec::with_capacity(leads.len());
        for &lead in &leads {
            let model = if hits.is_empty() { &self.first_hit } else { &self.other_hits };
            let fits = model.probability(lead, anything, &features);
            // Two models, one order: what scores less is not likelier.
            hits.push(hits.last().map_or(fits, |before| fits.min(*before)));
        }
        let above_line = match anything < self.anything_line {
            true => 0,
            false => hits.iter().rposition(|&fits| fits >= self.hit_line).map_or(0, |last| last + 1),
        };
        FitEstimate { features, leads, anything, hits, above_line }
    }

    pub(super) fn ensure_usable(&self) -> Result<()> {
        let Self { bias, similarity, familiarity, unseen, spread, pictures, .. } = *self;
        let weights = [bias, similarity, familiarity, unseen, spread, pictures];
        let of_hits = [self.first_hit, self.other_hits]
            .into_iter()
            .flat_map(|model| [model.bias, model.lead, model.lead_pictures, model.anything, model.pictures]);
        let finite = weights.into_iter().chain(of_hits).all(f64::is_finite);
        let lines = [self.anything_line, self.hit_line];
        if finite && lines.iter().all(|line| (0.0..=1.0).contains(line)) {
            return Ok(());
        }
        Err(Error::Argument {
            operation: "Fit::new",
            expected: "finite weights, and lines of 0 to 1".to_owned(),
            found: format!("{self:?}"),
        })
    }
}

impl HitFitConfig {
    /// The probability that a hit with this lead is the one that was meant, where `anything` is that anything fits.
    pub fn probability(&self, lead: f64, anything: f64, features: &QueryFeatures) -> f64 {
        let weights = [self.lead, self.lead_pictures, self.anything, self.pictures];
        let values = Self::values(lead, anything, features);
        let weighted = weights.into_iter().zip(values).map(|(weight, value)| weight * value);
        logistic(self.bias + weighted.sum::<f64>())
    }

    /// What a hit is told by, in the order of the weights.
    pub fn values(lead: f64, anything: f64, features: &QueryFeatures) -> [f64; 4] {
        // A lead is as large as it is beside what the query makes of other pictures; retrievers differ in that.
        let lead = lead / features.spread.max(SMALLEST_SPREAD);
        [lead, lead * features.pictures, anything.max(f64::MIN_POSITIVE).ln(), features.pictures]
    }
}

fn logistic(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// How far each hit's score is above the mean of the other best hits.
pub fn leads(hits: &[Hit]) -> Vec<f64> {
    let best: Vec<f64> = hits.iter().take(COMPARED_HITS).map(|hit| f64::from(hit.score)).collect();
    let sum: f64 = best.iter().sum();
    let lead = |(position, hit): (usize, &Hit)| {
        let score = f64::from(hit.score);
        let own = if position < best.len() { score } else { 0.0 };
        let others = best.len() - usize::from(position < best.len());
        if others == 0 { 0.0 } else { score - (sum - own) / others as f64 }
    };
    hits.iter().enumerate().map(lead).collect()
}
