//! Reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009): an image's score is `Σ wᵢ / (60 + rankᵢ)` over the
//! rankings that the texts give. What counts is where a text puts an image, not by how much.

use std::collections::HashMap;

use crate::index::{Hit, TopK};

/// The paper's constant: how much less a first rank counts than all the following together.
const RANK_OFFSET: f32 = 60.0;

/// The fused scores of all images.
///
/// # Shapes
/// - `scores`: `[texts, n]`
/// - `weights`: `[texts]`
/// - result: `[n]`
pub(super) fn fuse_scores(scores: &[f32], weights: &[f32], n: usize) -> Vec<f32> {
    let mut fused = vec![0.0; n];
    for (scores, weight) in scores.chunks_exact(n.max(1)).zip(weights) {
        let mut hits: Vec<Hit> = (0u64..).zip(scores).map(|(id, &score)| Hit { id, score }).collect();
        hits.sort_unstable_by(Hit::ranking_order);
        for (rank, hit) in (1u32..).zip(hits) {
            if let Some(fused) = usize::try_from(hit.id).ok().and_then(|image| fused.get_mut(image)) {
                *fused += share(*weight, rank);
            }
        }
    }
    fused
}

/// The best `k` by the fused score, given each text's ranking of all images.
pub(super) fn fuse_hits(rankings: Vec<Vec<Hit>>, weights: &[f32], k: usize) -> Vec<Hit> {
    let mut fused: HashMap<u64, f32> = HashMap::new();
    for (ranking, weight) in rankings.into_iter().zip(weights) {
        for (rank, hit) in (1u32..).zip(ranking) {
            *fused.entry(hit.id).or_default() += share(*weight, rank);
        }
    }
    let mut best = TopK::new(k);
    fused.into_iter().for_each(|(id, score)| best.push(Hit { id, score }));
    best.into_sorted()
}

fn share(weight: f32, rank: u32) -> f32 {
    weight / (RANK_OFFSET + rank as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_and_not_scores() {
        // The first text ranks 2, 0, 1; the second 0, 1, 2, by however much.
        let scores = [0.5, 0.4, 0.9, 0.3, 0.2, 0.1];
        let fused = fuse_scores(&scores, &[1.0, 2.0], 3);
        let expected = [1.0 / 62.0 + 2.0 / 61.0, 1.0 / 63.0 + 2.0 / 62.0, 1.0 / 61.0 + 2.0 / 63.0];
        assert!(fused.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{fused:?}");
        let ranking = |ids: [u64; 3]| ids.map(|id| Hit { id, score: 0.0 }).to_vec();
        let hits = fuse_hits(vec![ranking([2, 0, 1]), ranking([0, 1, 2])], &[1.0, 2.0], 2);
        assert_eq!(hits, [Hit { id: 0, score: fused[0] }, Hit { id: 2, score: fused[2] }]);
    }
}
