//! Several texts, one score.
//!
//! A dot product is linear, so a weighted mean of scores is the score of a weighted mean of embeddings: most
//! combinations need one vector for a query, whatever the number of its texts.

use serde::{Deserialize, Serialize};

use super::{EnhancedQuery, rank_fusion};
use crate::embed::embeddings::Embeddings;
use crate::embed::similarity;
use crate::error::{Error, Result};
use crate::index::{Hit, Index, TopK};

/// How the texts of one query make one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// The texts stand for the query, the original left out; several of them as `MeanEmbedding`.
    Replace,
    /// The cosine with the weighted mean of the texts' embeddings, scaled to length 1.
    MeanEmbedding,
    /// The weighted mean of the texts' cosines (EvdCLIP's inference: the query and its rewrite, half each).
    MeanScore,
    /// The largest of the texts' cosines. Weights say whether a text counts, not how much: shares among several rewrites
    /// would leave each of them too little ever to win.
    MaxScore,
    /// Reciprocal rank fusion: `Σ wᵢ / (60 + rankᵢ)` over the texts' rankings of all images.
    ReciprocalRank,
    /// The cosine with the weighted sum of the texts' embeddings, scaled to length 1; weights may be negative.
    WeightedSum,
}

/// Queries as vectors: the score of a query and an image is the largest dot product of the query's vectors with it, or
/// what the ranks that these give the image make together.
#[derive(Debug, Clone, PartialEq)]
pub struct CombinedQueries {
    vectors: Embeddings,
    /// Where each query's vectors begin, and the end of the last.
    offsets: Vec<usize>,
    /// The weights of the rankings of each query whose ranks are fused.
    fused: Vec<Option<Vec<f32>>>,
}

impl CombinedQueries {
    /// Queries of one text each.
    pub fn single(vectors: Embeddings) -> Self {
        Self { offsets: (0..=vectors.rows()).collect(), fused: vec![None; vectors.rows()], vectors }
    }

    /// Combines the embeddings of all queries' texts.
    ///
    /// # Shapes
    /// - `texts`: `[total number of texts, dim]`, the first query's texts first
    ///
    /// # Errors
    /// [`Error::Argument`] if the number of texts differs; those of [`EnhancedQuery::ensure_usable`].
    pub fn combine(queries: &[EnhancedQuery], texts: &Embeddings, enhancer: &str) -> Result<Self> {
        let total: usize = queries.iter().map(|query| query.texts.len()).sum();
        if total != texts.rows() {
            return Err(Error::Argument {
                operation: "CombinedQueries::combine",
                expected: format!("embeddings of {total} texts"),
                found: format!("{}", texts.rows()),
            });
        }
        let mut combined =
            Self { vectors: Embeddings::new(texts.dim()), offsets: vec![0], fused: Vec::new() };
        let mut rows = texts.iter();
        for query in queries {
            query.ensure_usable(enhancer)?;
            let weighted = query.texts.iter().map(|text| text.weight).zip(rows.by_ref());
            let weighted: Vec<(f32, &[f32])> = weighted.filter(|(weight, _)| *weight != 0.0).collect();
            combined.push(query.combination, &weighted, enhancer)?;
        }
        Ok(combined)
    }

    /// Appends the queries of `other`.
    ///
    /// # Errors
    /// [`Error::Argument`] if they have another dimension.
    pub fn append(&mut self, other: &Self) -> Result<()> {
        let before = self.vectors.rows();
        self.vectors.append(&other.vectors)?;
        self.offsets.extend(other.offsets.iter().skip(1).map(|offset| before + offset));
        self.fused.extend(other.fused.iter().cloned());
        Ok(())
    }

    /// The number of queries.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of components of each vector.
    pub fn dim(&self) -> usize {
        self.vectors.dim()
    }

    /// All vectors, those of the first query first.
    pub fn vectors(&self) -> &Embeddings {
        &self.vectors
    }

    /// The scores of the queries in `range` with every image.
    ///
    /// # Shapes
    /// - `images`: `[n, dim]`
    /// - result: `[range.len(), n]`
    ///
    /// # Errors
    /// [`Error::Argument`] if the dimensions differ or there are no such queries.
    pub fn scores(&self, range: std::ops::Range<usize>, images: &Embeddings) -> Result<Vec<f32>> {
        let offsets = self.offsets.get(range.start..=range.end);
        let (Some(offsets), true) = (offsets, images.dim() == self.dim()) else {
            return Err(Error::Argument {
                operation: "CombinedQueries::scores",
                expected: format!("queries below {} and images of {} components", self.len(), self.dim()),
                found: format!("queries {range:?} and images of {} components", images.dim()),
            });
        };
        let (first, last) = (self.offsets[range.start], self.offsets[range.end]);
        let (n, dim) = (images.rows(), self.dim());
        let mut scores = vec![0.0; (last - first) * n];
        similarity::scores_batch(
            &self.vectors.as_slice()[first * dim..last * dim],
            images.as_slice(),
            dim,
            &mut scores,
        );
        if last - first == range.len() {
            return Ok(scores);
        }
        let mut best = vec![f32::NEG_INFINITY; range.len() * n];
        for (query, bounds) in offsets.windows(2).enumerate() {
            if let Some(weights) = self.fused_weights(range.start + query) {
                let of_query = &scores[(bounds[0] - first) * n..(bounds[1] - first) * n];
                let fused = rank_fusion::fuse_scores(of_query, weights, n);
                best[query * n..(query + 1) * n].copy_from_slice(&fused);
                continue;
            }
            for row in bounds[0] - first..bounds[1] - first {
                let largest = &mut best[query * n..(query + 1) * n];
                largest.iter_mut().zip(&scores[row * n..]).for_each(|(best, &score)| *best = best.max(score));
            }
        }
        Ok(best)
    }

    fn fused_weights(&self, query: usize) -> Option<&[f32]> {
        self.fused.get(query)?.as_deref()
    }

    /// The score of one query with one of the images, the same bits as in [`scores`](Self::scores).
    ///
    /// # Errors
    /// Those of [`scores`](Self::scores).
    pub(crate) fn score(&self, query: usize, images: &Embeddings, image: usize) -> Result<f32> {
        if self.fused_weights(query).is_some() {
            // A rank is one among all images.
            let scores = self.scores(query..query + 1, images)?;
            return Ok(scores.get(image).copied().unwrap_or(f32::NEG_INFINITY));
        }
        let (dim, image) = (self.dim(), images.row(image));
        let rows = &self.vectors.as_slice()[self.offsets[query] * dim..self.offsets[query + 1] * dim];
        let mut scores = vec![0.0; rows.len() / dim.max(1)];
        similarity::scores(image, rows, dim, &mut scores);
        Ok(scores.into_iter().fold(f32::NEG_INFINITY, f32::max))
    }

    /// The `k` best hits of every query in `index`.
    ///
    /// An image among the best k by the largest score is among the best k of the text that gave it that score.
    ///
    /// # Errors
    /// Those of [`Index::search`].
    pub fn search(&self, index: &dyn Index, k: usize) -> Result<Vec<Vec<Hit>>> {
        let mut found = index.search(&self.vectors, k)?.into_iter();
        let of_query = |(query, bounds): (usize, &[usize])| {
            let mut lists: Vec<Vec<Hit>> = found.by_ref().take(bounds[1] - bounds[0]).collect();
            if let Some(weights) = self.fused_weights(query) {
                let rows: Vec<usize> = (bounds[0]..bounds[1]).collect();
                let rankings = index.search(&self.vectors.select(&rows)?, index.len())?;
                return Ok(rank_fusion::fuse_hits(rankings, weights, k));
            }
            Ok(if lists.len() == 1 { lists.swap_remove(0) } else { merge_by_largest_score(lists, k) })
        };
        self.offsets.windows(2).enumerate().map(of_query).collect()
    }

    fn push(&mut self, combination: Combination, weighted: &[(f32, &[f32])], enhancer: &str) -> Result<()> {
        let mut fused = None;
        match (combination, weighted) {
            // One text is what it is, to the bit.
            (_, [(_, only)]) => self.vectors.push(only)?,
            (Combination::MaxScore, _) => {
                let counting = weighted.iter().filter(|(weight, _)| *weight > 0.0);
                counting.into_iter().try_for_each(|(_, row)| self.vectors.push(row))?;
            }
            (Combination::MeanScore, _) => self.vectors.push(&weighted_mean(weighted, self.dim()))?,
            (Combination::ReciprocalRank, _) => {
                weighted.iter().try_for_each(|(_, row)| self.vectors.push(row))?;
                fused = Some(weighted.iter().map(|(weight, _)| *weight).collect());
            }
            (Combination::WeightedSum, _) => {
                self.vectors.append(&weighted_sum(weighted, self.dim(), enhancer)?)?;
            }
            (Combination::MeanEmbedding | Combination::Replace, _) => {
                let mut mean = Embeddings::from_rows(self.dim(), weighted_mean(weighted, self.dim()))?;
                mean.normalise();
                self.vectors.append(&mean)?;
            }
        }
        self.offsets.push(self.vectors.rows());
        self.fused.push(fused);
        Ok(())
    }
}

/// Below this share of all weights, what is left of a sum is rounding.
const CANCELLED: f32 = 1e-3;

/// Σ wᵢ·eᵢ, scaled to length 1, `[1, dim]`.
fn weighted_sum(weighted: &[(f32, &[f32])], dim: usize, enhancer: &str) -> Result<Embeddings> {
    let mut sum = vec![0.0; dim];
    for (weight, row) in weighted {
        sum.iter_mut().zip(*row).for_each(|(sum, value)| *sum += weight * value);
    }
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    let weights: f32 = weighted.iter().map(|(weight, _)| weight.abs()).sum();
    if length <= CANCELLED * weights {
        let reason = "the terms cancel each other: nothing is left to search for".to_owned();
        return Err(Error::Enhancer { enhancer: enhancer.to_owned(), reason });
    }
    let mut sum = Embeddings::from_rows(dim, sum)?;
    sum.normalise();
    Ok(sum)
}

/// Σ wᵢ·eᵢ / Σ wᵢ, `[dim]`.
fn weighted_mean(weighted: &[(f32, &[f32])], dim: usize) -> Vec<f32> {
    let total: f32 = weighted.iter().map(|(weight, _)| weight).sum();
    let mut mean = vec![0.0; dim];
    for (weight, row) in weighted {
        mean.iter_mut().zip(*row).for_each(|(mean, value)| *mean += weight / total * value);
    }
    mean
}

/// One list of the best `k`, each image with its largest score.
fn merge_by_largest_score(lists: Vec<Vec<Hit>>, k: usize) -> Vec<Hit> {
    let mut all: Vec<Hit> = lists.into_iter().flatten().collect();
    all.sort_unstable_by(|left, right| left.id.cmp(&right.id).then(left.ranking_order(right)));
    all.dedup_by_key(|hit| hit.id);
    let mut best = TopK::new(k);
    all.into_iter().for_each(|hit| best.push(hit));
    best.into_sorted()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enhancer::WeightedText;
    use crate::index::ExactIndex;

    fn query(weights: &[f32], combination: Combination) -> EnhancedQuery {
        let texts = weights.iter().map(|&weight| WeightedText { text: "text".to_owned(), weight }).collect();
        EnhancedQuery { texts, combination, trace: Vec::new(), refinements: Vec::new() }
    }

    /// Two texts at right angles, three images between them.
    fn texts_and_images() -> (Embeddings, Embeddings) {
        let texts = Embeddings::from_rows(2, vec![1.0, 0.0, 0.0, 1.0]).unwrap();
        let images = Embeddings::from_rows(2, vec![1.0, 0.0, 0.8, 0.6, 0.6, 0.8]).unwrap();
        (texts, images)
    }

    fn scores(weights: &[f32], combination: Combination) -> Vec<f32> {
        let (texts, images) = texts_and_images();
        let combined = CombinedQueries::combine(&[query(weights, combination)], &texts, "test").unwrap();
        combined.scores(0..1, &images).unwrap()
    }

    fn assert_near(found: &[f32], expected: &[f32]) {
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6);
        assert!(near && found.len() == expected.len(), "expected {expected:?}, found {found:?}");
    }

    #[test]
    fn each_combination_is_what_its_name_says() {
        assert_near(&scores(&[1.0, 1.0], Combination::MeanScore), &[0.5, 0.7, 0.7]);
        assert_near(&scores(&[3.0, 1.0], Combination::MeanScore), &[0.75, 0.75, 0.65]);
        let half = 0.5f32.sqrt();
        let mean_embedding = [half, 1.4 * half, 1.4 * half];
        assert_near(&scores(&[1.0, 1.0], Combination::MeanEmbedding), &mean_embedding);
        assert_near(&scores(&[1.0, 1.0], Combination::Replace), &mean_embedding);
        assert_near(&scores(&[1.0, 1.0], Combination::MaxScore), &[1.0, 0.8, 0.8]);
        assert_near(&scores(&[2.0, 1.0], Combination::MaxScore), &[1.0, 0.8, 0.8]);
        assert_near(&scores(&[0.0, 1.0], Combination::MaxScore), &[0.0, 0.6, 0.8]);
        let ranks = |one: f32, other: f32| 1.0 / (60.0 + one) + 1.0 / (60.0 + other);
        let fused = [ranks(1.0, 3.0), ranks(2.0, 2.0), ranks(3.0, 1.0)];
        assert_near(&scores(&[1.0, 1.0], Combination::ReciprocalRank), &fused);
        // (0.8, −0.6) has length 1: its products with (1, 0), (0.8, 0.6) and (0.6, 0.8).
        assert_near(&scores(&[0.8, -0.6], Combination::WeightedSum), &[0.8, 0.28, 0.0]);
    }

    #[test]
    fn one_text_is_what_it_is_to_the_bit() {
        let texts = Embeddings::from_rows(3, vec![0.1, 0.7, -0.3]).unwrap();
        for combination in [Combination::Replace, Combination::MeanEmbedding, Combination::MeanScore] {
            let combined = CombinedQueries::combine(&[query(&[0.3], combination)], &texts, "test").unwrap();
            assert_eq!(combined, CombinedQueries::single(texts.clone()));
        }
    }

    #[test]
    fn a_search_ranks_by_the_combined_score() {
        let (texts, images) = texts_and_images();
        let mut texts = texts;
        texts.append(&texts.clone()).unwrap();
        texts.append(&texts.clone()).unwrap();
        let queries = [
            query(&[1.0, 0.9], Combination::MaxScore),
            query(&[1.0, 3.0], Combination::MeanScore),
            query(&[1.0, 2.0], Combination::ReciprocalRank),
            query(&[1.0, -0.5], Combination::WeightedSum),
        ];
        let combined = CombinedQueries::combine(&queries, &texts, "test").unwrap();
        let index = ExactIndex::from_parts("model", vec![0, 1, 2], images.clone()).unwrap();
        for k in 0..4 {
            let found = combined.search(&index, k).unwrap();
            for (number, hits) in found.iter().enumerate() {
                let scores = combined.scores(number..number + 1, &images).unwrap();
                let mut expected: Vec<Hit> =
                    (0u64..).zip(scores).map(|(id, score)| Hit { id, score }).collect();
                expected.sort_by(Hit::ranking_order);
                assert_eq!(hits[..], expected[..k.min(3)]);
            }
        }
    }

    #[test]
    fn batches_put_together_are_one_batch() {
        let (texts, _) = texts_and_images();
        let queries = [query(&[1.0, 1.0], Combination::MaxScore)];
        let mut twice = CombinedQueries::combine(&queries, &texts, "test").unwrap();
        twice.append(&twice.clone()).unwrap();
        let mut both = texts.clone();
        both.append(&texts).unwrap();
        let queries = [queries[0].clone(), queries[0].clone()];
        assert_eq!(twice, CombinedQueries::combine(&queries, &both, "test").unwrap());
    }

    #[test]
    fn texts_that_make_no_score_are_refused() {
        let (texts, images) = texts_and_images();
        for weights in [[0.0, 0.0], [1.0, -1.0], [f32::NAN, 1.0], [f32::MAX, f32::MAX]] {
            let queries = [query(&weights, Combination::MeanScore)];
            assert!(CombinedQueries::combine(&queries, &texts, "test").is_err(), "{weights:?}");
        }
        let too_few = [query(&[1.0], Combination::Replace)];
        assert!(CombinedQueries::combine(&too_few, &texts, "test").is_err());
        let combined = CombinedQueries::single(texts);
        assert!(combined.scores(1..3, &images).is_err());
        assert!(combined.scores(0..1, &Embeddings::new(3)).is_err());
    }
}
