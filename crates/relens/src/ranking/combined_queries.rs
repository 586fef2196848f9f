//! Several texts, one score.
//!
//! A dot product is linear, so a weighted mean of scores is the score of a weighted mean of embeddings: most
//! combinations need one vector for a query, whatever the number of its texts.

use super::merge::Merge;
use crate::embed::embeddings::Embeddings;
use crate::embed::similarity;
use crate::enhancer::{Combination, EnhancedQuery};
use crate::error::{Error, Result};
use crate::index::{Hit, Index};

/// Queries as vectors: one or several each, whose rankings are merged.
#[derive(Debug, Clone, PartialEq)]
pub struct CombinedQueries {
    vectors: Embeddings,
    /// Where each query's vectors begin, and the end of the last.
    offsets: Vec<usize>,
    /// How the rankings of each query's vectors are merged.
    merges: Vec<Merge>,
}

impl CombinedQueries {
    /// Queries of one text each.
    pub fn single(vectors: Embeddings) -> Self {
        Self {
            offsets: (0..=vectors.rows()).collect(),
            merges: vec![Merge::LargestScore; vectors.rows()],
            vectors,
        }
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
            Self { vectors: Embeddings::new(texts.dim()), offsets: vec![0], merges: Vec::new() };
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
        self.merges.extend(other.merges.iter().cloned());
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

    /// The vectors of one query, one or several.
    pub fn vectors_of(&self, query: usize) -> impl Iterator<Item = &[f32]> {
        let bounds = self.offsets.get(query).zip(self.offsets.get(query + 1));
        let (first, end) = bounds.map_or((0, 0), |(&first, &end)| (first, end));
        (first..end).map(|row| self.vectors.row(row))
    }

    /// The cosine of one query and an image, of several vectors the largest: what a ranking starts from before ranks are
    /// fused and hubs lowered.
    ///
    /// # Shapes
    /// - `image`: `[dim]`
    pub fn similarity(&self, query: usize, image: &[f32]) -> f32 {
        let cosines = self.vectors_of(query).map(|vector| similarity::dot(vector, image));
        cosines.fold(f32::NEG_INFINITY, f32::max)
    }

    /// One vector a query, for programs that can carry no more: where rankings of several vectors are merged, the mean of
    /// those vectors.
    ///
    /// # Shapes
    /// - result: `[queries, dim]`, L2-normalised
    ///
    /// # Errors
    /// [`Error::Enhancer`] if the vectors of a query cancel each other.
    pub fn one_vector_each(&self) -> Result<Embeddings> {
        let mut vectors = Embeddings::new(self.dim());
        for bounds in self.offsets.windows(2) {
            let rows: Vec<(f32, &[f32])> =
                (bounds[0]..bounds[1]).map(|row| (1.0, self.vectors.row(row))).collect();
            vectors.append(&weighted_sum(&rows, self.dim(), "one_vector_each")?)?;
        }
        Ok(vectors)
    }

    /// The scores of the queries in `range` with every image, merged.
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
        let mut merged = Vec::with_capacity(range.len() * n);
        for (bounds, merge) in offsets.windows(2).zip(self.merges.iter().skip(range.start)) {
            merged.extend(merge.scores(&scores[(bounds[0] - first) * n..(bounds[1] - first) * n], n));
        }
        Ok(merged)
    }

    /// The score of one query with one of the images, the same bits as in [`scores`](Self::scores).
    ///
    /// # Errors
    /// Those of [`scores`](Self::scores).
    pub(crate) fn score(&self, query: usize, images: &Embeddings, image: usize) -> Result<f32> {
        if self.merges.get(query).is_some_and(Merge::needs_all_ranks) {
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
    /// # Errors
    /// Those of [`Index::search`].
    pub fn search(&self, index: &dyn Index, k: usize) -> Result<Vec<Vec<Hit>>> {
        let rows_of = |all_ranks: bool| -> Vec<usize> {
            let queries = self.offsets.windows(2).zip(&self.merges);
            let wanted = queries.filter(|(_, merge)| merge.needs_all_ranks() == all_ranks);
            wanted.flat_map(|(bounds, _)| bounds[0]..bounds[1]).collect()
        };
        // Each vector is searched once, as deep as its query's merge needs it.
        let (cut, whole) = (rows_of(false), rows_of(true));
        let mut cut_rankings = if whole.is_empty() {
            index.search(&self.vectors, k)?
        } else {
            index.search(&self.vectors.select(&cut)?, k)?
        }
        .into_iter();
        let mut whole_rankings = match whole.len() {
            0 => Vec::new(),
            _ => index.search(&self.vectors.select(&whole)?, index.len())?,
        }
        .into_iter();
        let merged = self.offsets.windows(2).zip(&self.merges).map(|(bounds, merge)| {
            let rankings = if merge.needs_all_ranks() { &mut whole_rankings } else { &mut cut_rankings };
            merge.hits(rankings.take(bounds[1] - bounds[0]).collect(), k)
        });
        Ok(merged.collect())
    }

    fn push(&mut self, combination: Combination, weighted: &[(f32, &[f32])], enhancer: &str) -> Result<()> {
        let mut merge = Merge::LargestScore;
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
                merge = Merge::ReciprocalRank(weighted.iter().map(|(weight, _)| *weight).collect());
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
        self.merges.push(merge);
        Ok(())
    }
}

/// Below this share of all weights, what is left of a sum is rounding.
const CANCELLED: f32 = 1e-3;

/// Σ wᵢ·eᵢ, scaled to length 1, `[1, dim]`.
pub(super) fn weighted_sum(weighted: &[(f32, &[f32])], dim: usize, enhancer: &str) -> Result<Embeddings> {
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
