//! RACLIP: the nearest pairs of captions and pictures that are already known enrich a query's embedding.
//!
//! Source: Xie et al., "RA-CLIP: Retrieval Augmented Contrastive Language-Image Pre-training" (2023), whose learned
//! attention over neighbours is replaced by a softmax over similarities, so that nothing has to be trained:
//!
//! ```text
//! q' = normalise((1 − λ)·q + λ·Σ wᵢ·vᵢ),  w = softmax(q·cᵢ / τ) over the k captions c nearest to q, v their pictures
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::embed::embeddings::Embeddings;
use crate::embed::reference_pairs::ReferencePairs;
use crate::enhancer::open::EnhancerTable;
use crate::enhancer::{EnhancedQuery, Query, QueryEnhancer, RefineEmbeddings, Refinement, TraceEntry};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::index::best_rows;

/// How neighbours count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NeighboursConfig {
    /// How many neighbours; default 16.
    pub neighbours: usize,
    /// The share of the neighbours in the new embedding, λ, 0 to 1; default 0.3.
    pub share: f32,
    /// The temperature of the softmax over similarities, τ; default 0.05.
    pub temperature: f32,
}

impl Default for NeighboursConfig {
    fn default() -> Self {
        Self { neighbours: 16, share: 0.3, temperature: 0.05 }
    }
}

impl NeighboursConfig {
    fn ensure_valid(self) -> Result<()> {
        if self.neighbours > 0 && (0.0..=1.0).contains(&self.share) && self.temperature > 0.0 {
            return Ok(());
        }
        Err(refused(format!(
            "expected at least one neighbour, a share of 0 to 1 and a temperature above 0, found {self:?}"
        )))
    }
}

fn refused(reason: String) -> Error {
    Error::Enhancer { enhancer: "retrieval_augmented".to_owned(), reason }
}

/// Moves embeddings towards the pictures of the captions nearest to them.
pub struct Neighbours {
    pairs: Arc<ReferencePairs>,
    config: NeighboursConfig,
}

impl Neighbours {
    /// Enriches by the nearest of `pairs`.
    ///
    /// # Errors
    /// [`Error::Enhancer`] for settings that mean nothing.
    pub fn new(pairs: Arc<ReferencePairs>, config: NeighboursConfig) -> Result<Self> {
        config.ensure_valid()?;
        Ok(Self { pairs, config })
    }
}

impl RefineEmbeddings for Neighbours {
    fn refine(&self, rows: &mut [f32], dim: usize) -> Result<()> {
        let NeighboursConfig { neighbours, share, temperature } = self.config;
        let captions = self.pairs.captions();
        if dim != captions.dim() {
            return Err(refused(format!(
                "expected embeddings of {} components, as the reference pairs have, found {dim}",
                captions.dim()
            )));
        }
        // All texts in one pass over the captions: reading them from memory is what takes the time.
        let count = neighbours.min(captions.rows());
        let nearest = best_rows(rows, captions.as_slice(), dim, count, |caption| caption as u64);
        for (row, nearest) in rows.chunks_exact_mut(dim).zip(nearest) {
            let largest = nearest.first().map_or(0.0, |hit| hit.score);
            let weights: Vec<f32> =
                nearest.iter().map(|hit| ((hit.score - largest) / temperature).exp()).collect();
            let total: f32 = weights.iter().sum();
            let mut enriched: Vec<f32> = row.iter().map(|value| (1.0 - share) * value).collect();
            for (hit, weight) in nearest.iter().zip(&weights) {
                let image = self.pairs.image_of(hit.id as usize);
                enriched
                    .iter_mut()
                    .zip(image)
                    .for_each(|(new, value)| *new += share * weight / total * value);
            }
            let mut enriched = Embeddings::from_rows(dim, enriched)?;
            enriched.normalise();
            row.copy_from_slice(enriched.as_slice());
        }
        Ok(())
    }
}

/// What `retrieval_augmented` can be set to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrievalAugmentedConfig {
    /// The embedded pairs; required.
    pub pairs: Option<PathBuf>,
    /// How neighbours count.
    pub neighbours: NeighboursConfig,
}

/// The enhancer: the query's text stays, its embedding moves towards what similar captions show.
pub struct RetrievalAugmented {
    neighbours: Arc<Neighbours>,
}

impl RetrievalAugmented {
    /// Enriches by the nearest of `pairs`.
    ///
    /// # Errors
    /// [`Error::Enhancer`] for settings that mean nothing.
    pub fn new(pairs: Arc<ReferencePairs>, config: NeighboursConfig) -> Result<Self> {
        Ok(Self { neighbours: Arc::new(Neighbours::new(pairs, config)?) })
    }
}

impl RetrievalAugmented {
    pub(in crate::enhancer) fn open(table: &EnhancerTable) -> Result<Self> {
        let config: RetrievalAugmentedConfig = table.parse()?;
        let pairs = ReferencePairs::open(&table.required(config.pairs.as_ref(), "pairs")?)?;
        Self::new(Arc::new(pairs), config.neighbours)
    }
}

impl QueryEnhancer for RetrievalAugmented {
    fn name(&self) -> &str {
        "retrieval_augmented"
    }

    fn enhance_batch(&self, queries: &[Query], _: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        let count = self.neighbours.config.neighbours.min(self.neighbours.pairs.captions().rows());
        let source = format!("pictures of the {count} nearest captions");
        let enhance = |query: &Query| EnhancedQuery {
            trace: vec![TraceEntry::TextAdded { text: "(an embedding)".to_owned(), source: source.clone() }],
            refinements: vec![Refinement { texts: 0..1, by: self.neighbours.clone() }],
            ..EnhancedQuery::unchanged(query, "")
        };
        Ok(queries.iter().map(enhance).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enhancer::enhance_text;

    fn pairs() -> Arc<ReferencePairs> {
        let captions = Embeddings::from_rows(2, vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8]).unwrap();
        let images = Embeddings::from_rows(2, vec![0.8, 0.6, 0.0, 1.0, -1.0, 0.0]).unwrap();
        Arc::new(ReferencePairs::new(captions, images).unwrap())
    }

    fn refined(config: NeighboursConfig, query: [f32; 2]) -> Vec<f32> {
        let enhancer = RetrievalAugmented::new(pairs(), config).unwrap();
        let enhanced = enhance_text(&enhancer, "a");
        let mut rows = Embeddings::from_rows(2, query.to_vec()).unwrap();
        enhanced.refinements[0].apply(&mut rows, 0).unwrap();
        rows.into_vec()
    }

    #[test]
    fn the_embedding_moves_towards_the_pictures_of_similar_captions() {
        let one = NeighboursConfig { neighbours: 1, share: 1.0, temperature: 0.1 };
        assert_eq!(refined(one, [1.0, 0.0]), [0.8, 0.6]);
        assert_eq!(refined(one, [0.0, 1.0]), [0.0, 1.0]);
        assert_eq!(refined(NeighboursConfig { share: 0.0, ..one }, [1.0, 0.0]), [1.0, 0.0]);
        let half = refined(NeighboursConfig { share: 0.5, ..one }, [1.0, 0.0]);
        assert!((half[1] / half[0] - 0.6 / 1.8).abs() < 1e-6);
        assert!(((half[0] * half[0] + half[1] * half[1]) - 1.0).abs() < 1e-6);
        let all = refined(NeighboursConfig { neighbours: 99, ..one }, [1.0, 0.0]);
        assert!(all[0] < 0.8, "the other neighbours count a little: {all:?}");
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        let good = NeighboursConfig::default();
        for bad in [
            NeighboursConfig { neighbours: 0, ..good },
            NeighboursConfig { share: 1.5, ..good },
            NeighboursConfig { temperature: 0.0, ..good },
        ] {
            assert!(RetrievalAugmented::new(pairs(), bad).is_err());
        }
    }
}
