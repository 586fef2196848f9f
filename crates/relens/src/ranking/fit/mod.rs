//! Whether what was found is what was asked for: a calibrated estimate.
//!
//! A ranking has a first hit whatever was asked, "asdfgh qwerty" over holiday pictures included. Logistic models tell from
//! what is known when a query is answered how likely each hit is the picture that was meant:
//!
//! ```text
//! P(anything fits) = σ(w·(similarity of the best hit, familiarity, unseen words, spread, ln pictures) + bias)
//! P(a hit fits)    = σ(v·(lead, lead · ln pictures, ln P(anything fits), ln pictures) + hit bias)
//! ```
//!
//! with weights of its own for the first hit, which many a query has right and whose lead means something else. The number
//! of pictures counts because the best of many is near to any query. `relens train calibration` fits all of it on captions
//! and queries for pictures that a retriever has not learned, and on queries that no picture fits, in libraries of many
//! sizes; `[fit]` in `enhancer.toml` holds what it found.

mod config;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;

pub use config::{COMPARED_HITS, FitConfig, FitEstimate, HitFitConfig, leads};

use super::combined_queries::CombinedQueries;
use crate::embed::embeddings::Embeddings;
use crate::embed::reference_pairs::ReferencePairs;
use crate::embed::similarity;
use crate::english::Vocabulary;
use crate::error::{Error, Result};

/// Captions whose mean similarity with a query is its familiarity.
const NEAREST_CAPTIONS: usize = 5;
/// A word that captions use so often has been learned.
const SEEN: u64 = 5;

/// What is known about a query when it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct QueryFeatures {
    /// The cosine of the query and the best hit.
    pub similarity: f64,
    /// The mean cosine of the query and the nearest captions among the reference pairs.
    pub familiarity: f64,
    /// The share of the query's words that captions hardly use.
    pub unseen: f64,
    /// The standard deviation of the query's cosines with the reference pictures: what means nothing to the retriever is
    /// about as near to all of them.
    pub spread: f64,
    /// The natural logarithm of the number of pictures that were searched.
    pub pictures: f64,
}

impl QueryFeatures {
    /// In the order of the weights.
    pub fn values(&self) -> [f64; 5] {
        [self.similarity, self.familiarity, self.unseen, self.spread, self.pictures]
    }
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
    images: Arc<Embeddings>,
    vocabulary: Arc<Vocabulary>,
    config: FitConfig,
}

impl Fit {
    /// Estimates by `config`; what is familiar, `pairs` and the words of `vocabulary` say.
    ///
    /// # Errors
    /// [`Error::Argument`] for settings that mean nothing.
    pub fn new(pairs: &Arc<ReferencePairs>, vocabulary: Arc<Vocabulary>, config: FitConfig) -> Result<Self> {
        config.ensure_usable()?;
        let (captions, images) = (pairs.captions().clone(), pairs.images().clone());
        Ok(Self { captions, images, vocabulary, config })
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
        let spread = queries.vectors_of(query).map(|vector| self.spread(vector));
        Ok(QueryFeatures {
            similarity: searched.best.map_or(0.0, |best| f64::from(queries.similarity(query, best))),
            familiarity: familiarity.fold(f64::NEG_INFINITY, f64::max),
            unseen: self.vocabulary.unseen_share(text, SEEN),
            spread: spread.fold(f64::NEG_INFINITY, f64::max),
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

    fn spread(&self, vector: &[f32]) -> f64 {
        let mut scores = vec![0.0; self.images.rows()];
        similarity::scores(vector, self.images.as_slice(), self.images.dim(), &mut scores);
        let count = scores.len() as f64;
        let mean = scores.iter().map(|&score| f64::from(score)).sum::<f64>() / count;
        let square = scores.iter().map(|&score| (f64::from(score) - mean).powi(2)).sum::<f64>() / count;
        square.sqrt()
    }
}
