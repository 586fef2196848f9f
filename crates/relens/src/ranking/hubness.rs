//! Scores without the advantage of hubs: pictures that are near every query, captions that are near every picture.
//!
//! In a space of many dimensions some vectors are among the nearest of far too many others. Cross-domain similarity
//! local scaling (Conneau et al., "Word Translation Without Parallel Data", ICLR 2018; for retrieval: Bogolin et al.,
//! "Cross Modal Retrieval with Querybank Normalisation", CVPR 2022) takes from each score what the candidate scores
//! with its nearest neighbours of the other kind in a fixed set of reference pairs:
//!
//! ```text
//! score(q, c) = q·c − α·h(c),   h(c) = the mean of the k largest r·c over reference vectors r of q's kind
//! ```
//!
//! The queries' own neighbourhoods, which CSLS subtracts too, do not change a ranking. No query of a test set is looked
//! at: a score depends on the query, the candidate and the references alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::combined_queries::CombinedQueries;
use crate::embed::embeddings::Embeddings;
use crate::embed::reference_pairs::ReferencePairs;
use crate::embed::similarity;
use crate::error::{Error, Result};
use crate::index::{Hit, Index};

/// How many of an index's best hits are corrected, at least: a picture further down is not raised to the top.
pub const CORRECTED_HITS: usize = 100;
/// Offsets that are remembered, at most: some megabytes.
const REMEMBERED_OFFSETS: usize = 1 << 17;
/// Vectors that a thread compares with the references at a time.
const ROWS_PER_TASK: usize = 16;

/// How strongly hubs are lowered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HubnessConfig {
    /// α, 0 to 1; default 0.5, which is CSLS.
    pub strength: f32,
    /// k, how many nearest references count; default 16.
    pub neighbours: usize,
    /// How many references of each kind are used, spread over all of them; default 6,000.
    pub references: usize,
    /// What pictures lose on average; a search gives it back to all, so that scores stay on the scale of cosines. Default 0.
    pub typical: f32,
}

impl Default for HubnessConfig {
    fn default() -> Self {
        Self { strength: 0.5, neighbours: 16, references: 6000, typical: 0.0 }
    }
}

/// What candidates lose, from a set of reference pairs.
#[derive(Debug)]
pub struct Hubness {
    captions: Arc<Embeddings>,
    images: Arc<Embeddings>,
    config: HubnessConfig,
    /// What pictures lose, by the hashes of their vectors.
    known: Mutex<HashMap<blake3::Hash, f32>>,
}

impl Hubness {
    /// Corrects by `pairs`.
    ///
    /// # Errors
    /// [`Error::Argument`] for settings that mean nothing.
    pub fn new(pairs: &Arc<ReferencePairs>, config: HubnessConfig) -> Result<Self> {
        let HubnessConfig { strength, neighbours, references, typical } = config;
        let usable = (0.0..=1.0).contains(&strength) && typical.is_finite();
        if !usable || neighbours == 0 || references == 0 {
            return Err(Error::Argument {
                operation: "Hubness::new",
                expected:
                    "a strength of 0 to 1, a finite typical loss, at least one neighbour and one reference"
                        .to_owned(),
                found: format!("{config:?}"),
            });
        }
        Ok(Self {
            captions: spread(pairs.captions(), references)?,
            images: spread(pairs.images(), references)?,
            config,
            known: Mutex::default(),
        })
    }

    /// The number of components that vectors must have.
    pub fn dim(&self) -> usize {
        self.captions.dim()
    }

    /// What each picture loses as a candidate of a text.
    ///
    /// # Shapes
    /// - `images`: `[n, dim]`; result: `[n]`
    ///
    /// # Errors
    /// [`Error::Argument`] if the dimensions differ.
    pub fn image_offsets(&self, images: &Embeddings) -> Result<Vec<f32>> {
        self.ensure_dim("Hubness::image_offsets", images.dim())?;
        let offsets = images.as_slice().par_chunks(ROWS_PER_TASK * self.dim()).flat_map_iter(|rows| {
            let count = rows.len() / self.dim();
            let mut scores = vec![0.0; count * self.captions.rows()];
            similarity::scores_batch(rows, self.captions.as_slice(), self.dim(), &mut scores);
            self.offsets(scores, self.captions.rows())
        });
        Ok(offsets.collect())
    }

    /// What each text loses as a candidate of a picture.
    ///
    /// # Shapes
    /// - result: `[texts.len()]`
    ///
    /// # Errors
    /// [`Error::Argument`] if the dimensions differ.
    pub fn text_offsets(&self, texts: &CombinedQueries) -> Result<Vec<f32>> {
        self.ensure_dim("Hubness::text_offsets", texts.dim())?;
        let starts: Vec<usize> = (0..texts.len()).step_by(ROWS_PER_TASK).collect();
        let offsets: Vec<Vec<f32>> = starts
            .into_par_iter()
            .map(|start| {
                let scores = texts.scores(start..(start + ROWS_PER_TASK).min(texts.len()), &self.images)?;
                Ok(self.offsets(scores, self.images.rows()))
            })
            .collect::<Result<_>>()?;
        Ok(offsets.concat())
    }

    /// The `k` best hits of every query by corrected scores, among its [`CORRECTED_HITS`] (or `k`) best.
    ///
    /// # Errors
    /// Those of [`Index::search`]; [`Error::Argument`] if the dimensions differ.
    pub fn search(&self, queries: &CombinedQueries, index: &dyn Index, k: usize) -> Result<Vec<Vec<Hit>>> {
        let found = queries.search(index, k.max(CORRECTED_HITS))?;
        found.into_iter().map(|hits| self.corrected(hits, index, k)).collect()
    }

    /// What a search takes from the cosine of each picture; below 0 where a picture loses less than is typical.
    ///
    /// # Shapes
    /// - `images`: `[n, dim]`; result: `[n]`
    ///
    /// # Errors
    /// [`Error::Argument`] if the dimensions differ.
    pub fn losses(&self, images: &Embeddings) -> Result<Vec<f32>> {
        let offsets = self.remembered_offsets(images)?;
        Ok(offsets.into_iter().map(|offset| offset - self.config.typical).collect())
    }

    fn corrected(&self, mut hits: Vec<Hit>, index: &dyn Index, k: usize) -> Result<Vec<Hit>> {
        let images = index.vectors(&hits.iter().map(|hit| hit.id).collect::<Vec<_>>())?;
        hits.iter_mut().zip(self.losses(&images)?).for_each(|(hit, loss)| hit.score -= loss);
        hits.sort_unstable_by(Hit::ranking_order);
        hits.truncate(k);
        Ok(hits)
    }

    /// [`image_offsets`](Self::image_offsets), of pictures that were met before from memory: a running program searches
    /// the same pictures again and again, and what they lose does not depend on the query.
    fn remembered_offsets(&self, images: &Embeddings) -> Result<Vec<f32>> {
        let keys: Vec<blake3::Hash> =
            images.iter().map(|row| blake3::hash(bytemuck::cast_slice(row))).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<usize> = (0..keys.len()).filter(|&row| !known.contains_key(&keys[row])).collect();
        let fresh = self.image_offsets(&images.select(&missing)?)?;
        if known.len() + fresh.len() > REMEMBERED_OFFSETS {
            known.clear();
        }
        known.extend(missing.iter().map(|&row| keys[row]).zip(fresh));
        // What was forgotten a moment ago is computed again.
        let offset = |(row, key): (usize, &blake3::Hash)| match known.get(key) {
            Some(&offset) => Ok(offset),
            None => Ok(self.image_offsets(&images.select(&[row])?)?.first().copied().unwrap_or(0.0)),
        };
        keys.iter().enumerate().map(offset).collect()
    }

    /// α times the mean of the k largest of each row of `scores`, `[rows, references]`.
    fn offsets(&self, mut scores: Vec<f32>, references: usize) -> Vec<f32> {
        let k = self.config.neighbours.min(references);
        let mean_of_largest = |row: &mut [f32]| {
            row.select_nth_unstable_by(k - 1, |left, right| right.total_cmp(left));
            // Summed in order of size, so that the result does not depend on the selection's order.
            row[..k].sort_unstable_by(f32::total_cmp);
            self.config.strength * row[..k].iter().sum::<f32>() / k as f32
        };
        scores.chunks_exact_mut(references.max(1)).map(mean_of_largest).collect()
    }

    fn ensure_dim(&self, operation: &'static str, found: usize) -> Result<()> {
        if found == self.dim() {
            return Ok(());
        }
        let expected = format!("vectors of {} components, as the reference pairs have", self.dim());
        Err(Error::Argument { operation, expected, found: found.to_string() })
    }
}

/// At most `count` rows, evenly spread.
fn spread(embeddings: &Arc<Embeddings>, count: usize) -> Result<Arc<Embeddings>> {
    let rows = embeddings.rows();
    if rows <= count {
        return Ok(embeddings.clone());
    }
    embeddings.select(&(0..count).map(|row| row * rows / count).collect::<Vec<_>>()).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::ExactIndex;

    /// Captions along both axes; the picture between them is a hub.
    fn hubness(strength: f32) -> Hubness {
        let captions = Embeddings::from_rows(2, vec![1.0, 0.0, 0.0, 1.0, 0.8, 0.6, 0.6, 0.8]).unwrap();
        let images = Embeddings::from_rows(2, vec![1.0, 0.0, 0.0, 1.0]).unwrap();
        let pairs = Arc::new(ReferencePairs::new(captions, images).unwrap());
        let settings = HubnessConfig { strength, neighbours: 4, ..HubnessConfig::default() };
        Hubness::new(&pairs, settings).unwrap()
    }

    #[test]
    fn a_hub_loses_what_it_scores_with_everybody() {
        let images = Embeddings::from_rows(2, vec![0.6, 0.8, 1.0, 0.0, -1.0, 0.0]).unwrap();
        let offsets = hubness(0.5).image_offsets(&images).unwrap();
        let expected = [(0.6 + 0.8 + 0.96 + 1.0) / 8.0, 2.4 / 8.0, -2.4 / 8.0];
        assert!(offsets.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6));
        let index = ExactIndex::from_parts("m", vec![7, 8, 9], images).unwrap();
        let query = CombinedQueries::single(Embeddings::from_rows(2, vec![0.88, 0.475]).unwrap());
        let ids = |strength: f32, k: usize| {
            let hits = hubness(strength).search(&query, &index, k).unwrap().remove(0);
            hits.into_iter().map(|hit| hit.id).collect::<Vec<_>>()
        };
        let one = hubness(1.0);
        let again = [one.search(&query, &index, 3).unwrap(), one.search(&query, &index, 3).unwrap()];
        assert_eq!(again[0], again[1], "remembered offsets are the same");
        assert_eq!(ids(0.0, 3), [7, 8, 9]);
        assert_eq!(ids(1.0, 3), [8, 7, 9], "the hub falls behind");
        assert_eq!(ids(1.0, 1), [8]);
    }

    #[test]
    fn texts_lose_what_they_score_with_reference_pictures() {
        let texts = CombinedQueries::single(Embeddings::from_rows(2, vec![0.6, 0.8, 0.0, -1.0]).unwrap());
        let offsets = hubness(1.0).text_offsets(&texts).unwrap();
        assert!((offsets[0] - 0.7).abs() < 1e-6 && (offsets[1] + 0.5).abs() < 1e-6, "{offsets:?}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let wide = Embeddings::from_rows(3, vec![1.0, 0.0, 0.0]).unwrap();
        assert!(hubness(0.5).image_offsets(&wide).is_err());
        assert!(hubness(0.5).text_offsets(&CombinedQueries::single(wide)).is_err());
        let one = Embeddings::from_rows(1, vec![1.0]).unwrap();
        let pairs = Arc::new(ReferencePairs::new(one.clone(), one).unwrap());
        for (strength, neighbours) in [(f32::NAN, 1), (1.5, 1), (0.5, 0)] {
            let settings = HubnessConfig { strength, neighbours, references: 1, typical: 0.0 };
            assert!(Hubness::new(&pairs, settings).is_err());
        }
    }
}
