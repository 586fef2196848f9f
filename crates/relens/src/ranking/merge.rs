//! How what several vectors of one query find becomes one ranking.
//!
//! [`Merge::ReciprocalRank`] is reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009): an image's score is
//! `Σ wᵢ / (60 + rankᵢ)` over the rankings of all images. What counts is where a vector puts an image, not by how much.

use std::collections::HashMap;

use crate::index::{Hit, TopK};

/// The paper's constant: how much less a first rank counts than all the following together.
const RANK_OFFSET: f32 = 60.0;

/// How the rankings of a query's vectors are merged.
#[derive(Debug, Clone, PartialEq)]
pub enum Merge {
    /// Each image has the largest of its scores.
    LargestScore,
    /// Each image has the sum of what its ranks are worth, by the weights of the vectors.
    ReciprocalRank(Vec<f32>),
}

impl Merge {
    /// Whether the merged score of an image depends on where all other images stand, so that no ranking may be cut off.
    pub fn needs_all_ranks(&self) -> bool {
        matches!(self, Self::ReciprocalRank(_))
    }

    /// One score for each image.
    ///
    /// # Shapes
    /// - `scores`: `[vectors, n]`
    /// - result: `[n]`
    pub(crate) fn scores(&self, scores: &[f32], n: usize) -> Vec<f32> {
        match self {
            Self::LargestScore => {
                let mut best = vec![f32::NEG_INFINITY; n];
                for row in scores.chunks_exact(n.max(1)) {
                    best.iter_mut().zip(row).for_each(|(best, &score)| *best = best.max(score));
                }
                best
            }
            Self::ReciprocalRank(weights) => {
                let mut fused = vec![0.0; n];
                for (scores, weight) in scores.chunks_exact(n.max(1)).zip(weights) {
                    let mut order: Vec<Hit> =
                        (0u64..).zip(scores).map(|(id, &score)| Hit { id, score }).collect();
                    order.sort_unstable_by(Hit::ranking_order);
                    for (rank, hit) in (1u32..).zip(order) {
                        if let Some(fused) =
                            usize::try_from(hit.id).ok().and_then(|image| fused.get_mut(image))
                        {
                            *fused += worth(*weight, rank);
                        }
                    }
                }
                fused
            }
        }
    }

    /// The best `k`, given each vector's ranking: of all images if [`needs_all_ranks`](Self::needs_all_ranks), else of
    /// its best `k`.
    ///
    /// An image among the best k by the largest score is among the best k of the vector that gave it that score.
    pub(crate) fn hits(&self, mut rankings: Vec<Vec<Hit>>, k: usize) -> Vec<Hit> {
        let merged: Vec<Hit> = match self {
            Self::LargestScore if rankings.len() == 1 => return rankings.swap_remove(0),
            Self::LargestScore => {
                let mut all: Vec<Hit> = rankings.into_iter().flatten().collect();
                all.sort_unstable_by(|left, right| left.id.cmp(&right.id).then(left.ranking_order(right)));
                all.dedup_by_key(|hit| hit.id);
                all
            }
            Self::ReciprocalRank(weights) => {
                let mut fused: HashMap<u64, f32> = HashMap::new();
                for (ranking, weight) in rankings.into_iter().zip(weights) {
                    for (rank, hit) in (1u32..).zip(ranking) {
                        *fused.entry(hit.id).or_default() += worth(*weight, rank);
                    }
                }
                fused.into_iter().map(|(id, score)| Hit { id, score }).collect()
            }
        };
        let mut best = TopK::new(k);
        merged.into_iter().for_each(|hit| best.push(hit));
        best.into_sorted()
    }
}

fn worth(weight: f32, rank: u32) -> f32 {
    weight / (RANK_OFFSET + rank as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_and_not_scores() {
        // The first text ranks 2, 0, 1; the second 0, 1, 2, by however much.
        let scores = [0.5, 0.4, 0.9, 0.3, 0.2, 0.1];
        let merge = Merge::ReciprocalRank(vec![1.0, 2.0]);
        let fused = merge.scores(&scores, 3);
        let expected = [1.0 / 62.0 + 2.0 / 61.0, 1.0 / 63.0 + 2.0 / 62.0, 1.0 / 61.0 + 2.0 / 63.0];
        assert!(fused.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{fused:?}");
        let ranking = |ids: [u64; 3]| ids.map(|id| Hit { id, score: 0.0 }).to_vec();
        let hits = merge.hits(vec![ranking([2, 0, 1]), ranking([0, 1, 2])], 2);
        assert_eq!(hits, [Hit { id: 0, score: fused[0] }, Hit { id: 2, score: fused[2] }]);
    }
}
