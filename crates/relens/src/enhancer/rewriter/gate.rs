//! The gate: predicts whether a rewrite helps. What it says decides whether the rewrite is used, and, if the gate says so,
//! how much it counts beside the query.
//!
//! A logistic model on a few numbers that are known at query time: how far the rewrite is from the query, how long, how
//! sure the language model was, how much of the query is unfamiliar to the retriever, and how the scores over the gallery
//! change. It is fitted on training pictures that the rewriter has not learned from.

use std::path::Path;

use relens_models::regular_file::{self, FileKind};
use serde::{Deserialize, Serialize};

use super::model::Rewrite;
use crate::embed::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::index::Index;

/// How many of the best pictures are looked at.
const TOP: usize = 10;

/// The features' names, in order.
pub const FEATURES: [&str; 10] = [
    "similarity_to_query",
    "length_ratio",
    "query_words",
    "mean_log_prob",
    "unfamiliarity",
    "best_score_before",
    "margin_before",
    "best_score_change",
    "margin_change",
    "overlap_of_best",
];

/// The features that need a gallery; without one they are neutral.
const GALLERY_FEATURES: usize = 5;

/// One number for each of [`FEATURES`]; `None` for those of a gallery that is not at hand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateFeatures {
    values: [Option<f64>; FEATURES.len()],
}

/// The scores of one text over the gallery, as far as the gate looks at them.
#[derive(Debug, Clone, PartialEq)]
struct ScoreDistribution {
    best: f64,
    /// The best score less the mean of the best ten.
    margin: f64,
    pictures: Vec<u64>,
}

impl ScoreDistribution {
    fn of(text: &[f32], gallery: &dyn Index) -> Result<Self> {
        let query = Embeddings::from_rows(text.len(), text.to_vec())?;
        let hits = gallery.search(&query, TOP)?.pop().unwrap_or_default();
        let best = hits.first().map_or(0.0, |hit| f64::from(hit.score));
        let mean = hits.iter().map(|hit| f64::from(hit.score)).sum::<f64>() / hits.len().max(1) as f64;
        Ok(Self { best, margin: best - mean, pictures: hits.iter().map(|hit| hit.id).collect() })
    }

    fn overlap(&self, other: &Self) -> f64 {
        let common = self.pictures.iter().filter(|picture| other.pictures.contains(picture)).count();
        common as f64 / self.pictures.len().max(1) as f64
    }
}

impl GateFeatures {
    /// Measures a query, of which the retriever does not know the part `unfamiliarity` (0 to 1, if somebody measured it),
    /// and its rewrite.
    ///
    /// # Shapes
    /// - query_vector, rewrite_vector: `[dim]`, L2-normalised
    ///
    /// # Errors
    /// [`Error::Argument`] if the dimensions differ.
    pub fn measure(
        query: &str,
        unfamiliarity: Option<f32>,
        rewrite: &Rewrite,
        query_vector: &[f32],
        rewrite_vector: &[f32],
        gallery: Option<&dyn Index>,
    ) -> Result<Self> {
        let words = |text: &str| (text.split_whitespace().count().max(1) as f64).ln();
        let similarity: f64 =
            query_vector.iter().zip(rewrite_vector).map(|(left, right)| f64::from(left * right)).sum();
        let mut values = [None; FEATURES.len()];
        let of_texts = [
            Some(similarity),
            Some(words(&rewrite.text) - words(query)),
            Some(words(query)),
            Some(f64::from(rewrite.mean_log_prob)),
            unfamiliarity.map(f64::from),
        ];
        for (value, found) in values.iter_mut().zip(of_texts) {
            *value = found;
        }
        if let Some(gallery) = gallery.filter(|gallery| !gallery.is_empty()) {
            let before = ScoreDistribution::of(query_vector, gallery)?;
            let after = ScoreDistribution::of(rewrite_vector, gallery)?;
            let of_gallery: [f64; GALLERY_FEATURES] = [
                before.best,
                before.margin,
                after.best - before.best,
                after.margin - before.margin,
                before.overlap(&after),
            ];
            for (value, found) in values.iter_mut().skip(of_texts.len()).zip(of_gallery) {
                *value = Some(found);
            }
        }
        Ok(Self { values })
    }

    /// The values; `None` where they could not be measured.
    pub fn values(&self) -> &[Option<f64>] {
        &self.values
    }
}

/// The logistic model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Must be [`FEATURES`].
    pub features: Vec<String>,
    /// Mean of every feature where the gate was fitted.
    pub mean: Vec<f64>,
    /// Deviation of every feature there, above 0.
    pub deviation: Vec<f64>,
    /// Weight of every standardised feature.
    pub weights: Vec<f64>,
    /// The logit of a rewrite with mean features.
    pub bias: f64,
    /// The least predicted probability of help with which a rewrite is used.
    pub threshold: f64,
    /// With it, the rewrite's share is `σ(sharpness · logit)` and the query has the rest; several rewrites and the query,
    /// whose logit is 0, share by softmax. Above 0. Without it the shares are those of the directory's `mix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharpness: Option<f64>,
    /// The fingerprint of the retriever that the gate was fitted for.
    pub retriever: String,
    /// Queries that it was fitted on.
    pub fitted_on: usize,
}

impl Gate {
    /// Reads a gate.
    ///
    /// # Errors
    /// [`Error::Enhancer`] with the file and what is wrong in it; an I/O error.
    pub fn open(path: &Path) -> Result<Self> {
        let refuse = |reason: String| Error::Enhancer { enhancer: path.display().to_string(), reason };
        let gate: Self = serde_json::from_slice(&regular_file::read(path, FileKind::Settings)?)
            .map_err(|error| refuse(error.to_string()))?;
        if gate.features != FEATURES {
            return Err(refuse(format!("expected the features {FEATURES:?}, found {:?}", gate.features)));
        }
        let numbers = [&gate.mean, &gate.deviation, &gate.weights];
        let complete = numbers
            .iter()
            .all(|list| list.len() == FEATURES.len() && list.iter().all(|number| number.is_finite()));
        if !complete || gate.deviation.iter().any(|&deviation| deviation <= 0.0) || !gate.bias.is_finite() {
            let expected = format!("{} finite means, deviations above 0 and weights", FEATURES.len());
            return Err(refuse(format!("expected {expected}, found others")));
        }
        if !(0.0..=1.0).contains(&gate.threshold) {
            return Err(refuse(format!("expected a threshold in [0, 1], found {}", gate.threshold)));
        }
        if let Some(sharpness) =
            gate.sharpness.filter(|sharpness| !(sharpness.is_finite() && *sharpness > 0.0))
        {
            return Err(refuse(format!("expected a sharpness above 0, found {sharpness}")));
        }
        Ok(gate)
    }

    /// The logit of the predicted probability that a rewrite helps.
    fn logit(&self, features: &GateFeatures) -> f64 {
        let mut logit = self.bias;
        for (index, value) in features.values.iter().enumerate() {
            let numbers = (self.mean.get(index), self.deviation.get(index), self.weights.get(index));
            if let (Some(value), (Some(mean), Some(deviation), Some(weight))) = (value, numbers) {
                logit += weight * (value - mean) / deviation;
            }
        }
        logit
    }

    /// The predicted probability that a rewrite helps.
    pub fn probability(&self, features: &GateFeatures) -> f64 {
        1.0 / (1.0 + (-self.logit(features)).exp())
    }

    /// How much each of a query's rewrites counts where the query itself counts 1; `None` for a gate without a sharpness.
    pub fn weights(&self, rewrites: &[GateFeatures]) -> Option<Vec<f32>> {
        let sharpness = self.sharpness?;
        // A bound far beyond every fit keeps the largest exponential finite.
        let weight =
            |features: &GateFeatures| (sharpness * self.logit(features)).clamp(-30.0, 30.0).exp() as f32;
        Some(rewrites.iter().map(weight).collect())
    }

    /// Whether a rewrite should be used.
    pub fn lets_through(&self, features: &GateFeatures) -> bool {
        self.probability(features) >= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::ExactIndex;

    fn gate() -> Gate {
        let mut weights = vec![0.0; FEATURES.len()];
        weights[0] = 2.0;
        weights[8] = 1.0;
        Gate {
            features: FEATURES.map(str::to_owned).into(),
            mean: vec![0.5; FEATURES.len()],
            deviation: vec![0.25; FEATURES.len()],
            weights,
            bias: 0.0,
            threshold: 0.5,
            sharpness: None,
            retriever: "words".to_owned(),
            fitted_on: 10,
        }
    }

    #[test]
    fn what_is_far_from_the_query_is_kept_out_and_what_is_unknown_is_neutral() {
        let rewrite = Rewrite { text: "a brown dog".to_owned(), mean_log_prob: -0.5 };
        let measure = |vector: &[f32], gallery: Option<&dyn Index>| {
            GateFeatures::measure("a dog", Some(0.5), &rewrite, &[1.0, 0.0], vector, gallery).unwrap()
        };
        let (near, far) = (measure(&[0.8, 0.6], None), measure(&[0.1, 0.995], None));
        assert!(gate().lets_through(&near) && !gate().lets_through(&far));
        assert_eq!(near.values()[8], None);
        let logit: f64 = 2.0 * (0.8 - 0.5) / 0.25;
        assert!((gate().probability(&near) - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-6);
        let pictures = Embeddings::from_rows(2, vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8]).unwrap();
        let gallery = ExactIndex::from_parts("words", vec![7, 8, 9], pictures).unwrap();
        let values = measure(&[0.6, 0.8], Some(&gallery));
        let change = values.values()[7].unwrap();
        assert!(change.abs() < 1e-6, "the best score is 1 before and after: {change}");
        assert_eq!(values.values()[9], Some(1.0));
        assert_eq!(gate().weights(&[near]), None);
        let sharp = Gate { sharpness: Some(0.5), ..gate() };
        let weights = sharp.weights(&[near, far]).unwrap();
        assert!((f64::from(weights[0]) - (0.5 * logit).exp()).abs() < 1e-4, "{weights:?}");
        assert!(weights[1] < 1.0, "a rewrite that would hurt counts less than the query: {weights:?}");
    }

    #[test]
    fn gates_come_back_and_broken_ones_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gate.json");
        let good = serde_json::to_string(&gate()).unwrap();
        fs_err::write(&path, &good).unwrap();
        assert_eq!(Gate::open(&path).unwrap(), gate());
        for broken in [
            good.replace("\"threshold\":0.5", "\"threshold\":1.5"),
            good.replacen("0.25", "0.0", 1),
            good.replacen("length_ratio", "length", 1),
            good.replacen("\"retriever\"", "\"sharpness\":0.0,\"retriever\"", 1),
            "{}".to_owned(),
        ] {
            fs_err::write(&path, broken).unwrap();
            assert!(Gate::open(&path).is_err());
        }
    }
}
