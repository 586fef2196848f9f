//! Whether what was found is what was asked for: a calibrated estimate.
//!
//! A ranking has a first hit whatever was asked, "asdfgh qwerty" over holiday pictures included. Two logistic models tell
//! from what is known when a query is answered how likely each hit is the picture that was meant:
//!
//! ```text
//! P(anything fits) = σ(bias + w₁·similarity of the best hit + w₂·familiarity + w₃·unseen words + w₄·ln pictures)
//! P(a hit fits)    = P(anything fits) · σ(hit bias + w₅·lead of the hit + w₆·ln pictures)
//! ```
//!
//! The number of pictures counts because the best of many is near to any query. `relens train calibration` fits both on
//! captions and queries for pictures that a retriever has not learned, and on queries that no picture fits, in libraries
//! of several sizes; `[fit]` in `enhancer.toml` holds what it found.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::combined_queries::CombinedQueries;
use crate::embed::embeddings::Embeddings;
use crate::embed::reference_pairs::ReferencePairs;
use crate::embed::similarity;
use crate::english::Vocabulary;
use crate::error::{Error, Result};
use crate::index::Hit;

/// Captions whose mean similarity with a query is its familiarity.
const NEAREST_CAPTIONS: usize = 5;
/// A word that captions use so often has been learned.
const SEEN: u64 = 5;
/// How many of the best hits a hit is compared with.
pub const COMPARED_HITS: usize = 10;

/// The two logistic models.
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
    /// The weight of [`QueryFeatures::pictures`]. Default 0.
    #[serde(default)]
    pub pictures: f64,
    /// The logit that a hit fits, if anything does, where it leads by nothing.
    pub hit_bias: f64,
    /// The weight of a hit's lead.
    pub lead: f64,
    /// The weight of [`QueryFeatures::pictures`] for a hit. Default 0.
    #[serde(default)]
    pub hit_pictures: f64,
    /// Where anything fits with a probability below this, all hits stand below the line: 0 to 1.
    pub anything_line: f64,
    /// Where a hit and all behind it fit with a probability below this, they stand below the line: 0 to 1.
    pub hit_line: f64,
}

/// What is known about a query when it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct QueryFeatures {
    /// The cosine of the query and the best hit.
    pub similarity: f64,
    /// The mean cosine of the query and the nearest captions among the reference pairs.
    pub familiarity: f64,
    /// The share of the query's words that captions hardly use.
    pub unseen: f64,
    /// The natural logarithm of the number of pictures that were searched.
    pub pictures: f64,
}

impl QueryFeatures {
    /// In the order of the weights.
    pub fn values(&self) -> [f64; 4] {
        [self.similarity, self.familiarity, self.unseen, self.pictures]
    }
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
        let weights = [self.similarity, self.familiarity, self.unseen, self.pictures];
        let weighted = weights.iter().zip(features.values()).map(|(weight, value)| weight * value);
        logistic(self.bias + weighted.sum::<f64>())
    }

    /// The probability that a hit is meant, if anything fits, from its lead and the logarithm of the number of pictures.
    pub fn hit(&self, lead: f64, pictures: f64) -> f64 {
        logistic(self.hit_bias + self.lead * lead + self.hit_pictures * pictures)
    }

    /// The estimates of an answer from its query and the leads of its hits.
    pub fn estimate(&self, features: QueryFeatures, leads: Vec<f64>) -> FitEstimate {
        let anything = self.anything(&features);
        let hits: Vec<f64> = leads.iter().map(|&lead| anything * self.hit(lead, features.pictures)).collect();
        let above_line = match anything < self.anything_line {
            true => 0,
            false => hits.iter().rposition(|&fits| fits >= self.hit_line).map_or(0, |last| last + 1),
        };
        FitEstimate { features, leads, anything, hits, above_line }
    }

    fn ensure_usable(&self) -> Result<()> {
        let Self { bias, similarity, familiarity, unseen, pictures, .. } = *self;
        let Self { hit_bias, lead, hit_pictures, .. } = *self;
        let weights = [bias, similarity, familiarity, unseen, pictures, hit_bias, lead, hit_pictures];
        let finite = weights.iter().all(|number| number.is_finite());
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

/// Among what a query was answered.
#[derive(Debug, Clone, Copy)]
pub struct Searched<'a> {
    /// The vector of the best hit, if there is one.
    pub best: Option<&'a [f32]>,
    /// How many pictures were searched.
    pub pictures: usize,
}

/// Estimates whether hits fit.
#[derive(Debug)]
pub struct Fit {
    captions: Arc<Embeddings>,
    vocabulary: Arc<Vocabulary>,
    config: FitConfig,
}

impl Fit {
    /// Estimates by `config`; what is familiar, the captions of `pairs` and the words of `vocabulary` say.
    ///
    /// # Errors
    /// [`Error::Argument`] for settings that mean nothing.
    pub fn new(pairs: &Arc<ReferencePairs>, vocabulary: Arc<Vocabulary>, config: FitConfig) -> Result<Self> {
        config.ensure_usable()?;
        Ok(Self { captions: pairs.captions().clone(), vocabulary, config })
    }

    /// What it estimates by.
    pub fn config(&self) -> &FitConfig {
        &self.config
    }

    /// What is known about the query number `query` of `queries`, whose words are `text`, from how it was answered.
    ///
    /// # Errors
    /// [`Error::Argument`] if the dimensions differ.
    pub fn features(
        &self,
        text: &str,
        queries: &CombinedQueries,
        query: usize,
        searched: Searched<'_>,
    ) -> Result<QueryFeatures> {
        if queries.dim() != self.captions.dim() {
            return Err(Error::Argument {
                operation: "Fit::features",
                expected: format!("vectors of {} components, as the captions have", self.captions.dim()),
                found: queries.dim().to_string(),
            });
        }
        let familiarity = queries.vectors_of(query).map(|vector| self.familiarity(vector));
        Ok(QueryFeatures {
            similarity: searched.best.map_or(0.0, |best| f64::from(queries.similarity(query, best))),
            familiarity: familiarity.fold(f64::NEG_INFINITY, f64::max),
            unseen: self.vocabulary.unseen_share(text, SEEN),
            pictures: (searched.pictures.max(1) as f64).ln(),
        })
    }

    fn familiarity(&self, vector: &[f32]) -> f64 {
        let mut scores = vec![0.0; self.captions.rows()];
        similarity::scores(vector, self.captions.as_slice(), self.captions.dim(), &mut scores);
        let count = NEAREST_CAPTIONS.min(scores.len());
        scores.select_nth_unstable_by(count - 1, |left, right| right.total_cmp(left));
        let nearest = scores.get_mut(..count).unwrap_or_default();
        // Summed in order of size, so that the result does not depend on the selection's order.
        nearest.sort_unstable_by(f32::total_cmp);
        nearest.iter().map(|&score| f64::from(score)).sum::<f64>() / count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: FitConfig = FitConfig {
        bias: -4.0,
        similarity: 6.0,
        familiarity: 2.0,
        unseen: -8.0,
        pictures: 0.0,
        hit_bias: -2.0,
        lead: 20.0,
        hit_pictures: 0.0,
        anything_line: 0.4,
        hit_line: 0.05,
    };

    fn fit() -> Fit {
        let captions = Embeddings::from_rows(2, vec![1.0, 0.0, 0.8, 0.6]).unwrap();
        let images = Embeddings::from_rows(2, vec![1.0, 0.0]).unwrap();
        let pairs = Arc::new(ReferencePairs::new(captions, images).unwrap());
        let vocabulary = Vocabulary::of_captions(["a dog on grass"; 5]);
        Fit::new(&pairs, Arc::new(vocabulary), CONFIG).unwrap()
    }

    fn hits(scores: &[f32]) -> Vec<Hit> {
        (0..).zip(scores).map(|(id, &score)| Hit { id, score }).collect()
    }

    #[test]
    fn unseen_words_and_distance_make_a_fit_unlikely() {
        let anything = |similarity, familiarity, unseen| {
            CONFIG.anything(&QueryFeatures { similarity, familiarity, unseen, pictures: 3.0 })
        };
        assert!((anything(0.5, 0.5, 0.0) - 0.5).abs() < 1e-12);
        assert!(anything(0.6, 0.5, 0.0) > 0.5 && anything(0.5, 0.9, 0.0) > 0.5);
        assert!(anything(0.5, 0.5, 0.5) < 0.02);
    }

    #[test]
    fn the_line_stands_behind_the_last_hit_that_may_fit() {
        let features = |unseen| QueryFeatures { similarity: 0.8, familiarity: 0.9, unseen, pictures: 3.0 };
        let leads = leads(&hits(&[0.5, 0.4, 0.2]));
        assert!((leads[0] - 0.2).abs() < 1e-6 && (leads[2] + 0.25).abs() < 1e-6, "{leads:?}");
        let estimate = CONFIG.estimate(features(0.0), leads.clone());
        assert_eq!(estimate.above_line, 2);
        assert!(estimate.hits[0] > estimate.hits[1] && estimate.hits[0] < estimate.anything);
        assert_eq!(CONFIG.estimate(features(1.0), leads).above_line, 0);
        assert_eq!(CONFIG.estimate(features(0.0), Vec::new()).above_line, 0);
        assert_eq!(super::leads(&hits(&[0.5])), [0.0], "one hit leads nobody");
    }

    #[test]
    fn familiar_is_what_captions_are_near_to_and_say() {
        let queries = CombinedQueries::single(Embeddings::from_rows(2, vec![1.0, 0.0, 0.0, -1.0]).unwrap());
        let best = Searched { best: Some(&[0.6, 0.8]), pictures: 100 };
        let known = fit().features("the dogs", &queries, 0, best).unwrap();
        assert!((known.pictures - 100f64.ln()).abs() < 1e-12);
        assert!((known.similarity - 0.6).abs() < 1e-6 && (known.familiarity - 0.9).abs() < 1e-6, "{known:?}");
        assert_eq!(known.unseen, 0.0);
        let unknown = fit().features("a sextant on grass", &queries, 1, best).unwrap();
        assert!((unknown.familiarity + 0.3).abs() < 1e-6 && unknown.unseen == 0.5, "{unknown:?}");
        let wide = CombinedQueries::single(Embeddings::from_rows(1, vec![1.0]).unwrap());
        assert!(fit().features("dog", &wide, 0, Searched { best: None, pictures: 0 }).is_err());
    }

    #[test]
    fn the_best_of_many_pictures_has_to_be_nearer() {
        let config = FitConfig { pictures: -0.5, hit_pictures: 0.25, ..CONFIG };
        let among =
            |pictures: f64| QueryFeatures { similarity: 0.6, familiarity: 0.9, unseen: 0.0, pictures };
        assert!(config.anything(&among(7.0)) < config.anything(&among(3.0)));
        assert!((config.hit(0.1, 8.0) - logistic(2.0)).abs() < 1e-9);
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        let one = Embeddings::from_rows(1, vec![1.0]).unwrap();
        let pairs = Arc::new(ReferencePairs::new(one.clone(), one).unwrap());
        let refused = |config| Fit::new(&pairs, Arc::new(Vocabulary::default()), config).is_err();
        assert!(
            refused(FitConfig { hit_line: 1.5, ..CONFIG }) && refused(FitConfig { bias: f64::NAN, ..CONFIG })
        );
    }
}
