//! Is a map right? Deletion and insertion (Petsiuk, Das and Saenko, "RISE", 2018).
//!
//! Deletion takes the most important cells out of the picture first and watches the score fall: the smaller the area
//! under the curve, the better. Insertion puts them into a baseline first: the larger, the better. Cells, not single
//! pixels, are moved, so that a random order does not win by turning the picture into noise.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{Cells, DifferentiableScore};
use crate::error::Result;

/// The areas under both curves, in scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Faithfulness {
    /// The mean score while cells are deleted.
    pub deletion: f64,
    /// The mean score while cells are inserted.
    pub insertion: f64,
    /// The picture's score.
    pub score: f64,
    /// The baseline's score.
    pub baseline_score: f64,
}

impl Faithfulness {
    /// Insertion less deletion in units of what there is to lose: 0 for a map that tells nothing, larger is better.
    pub fn gain(&self) -> f64 {
        let range = (self.score - self.baseline_score).abs();
        if range > 0.0 { (self.insertion - self.deletion) / range } else { 0.0 }
    }
}

/// Follows both curves through `steps` points between the ends.
///
/// # Shapes
/// - `picture`, `baseline`: `[height × width × 3]`, normalised
/// - `order`: all cells, most important first
///
/// # Errors
/// [`crate::error::Error::Argument`] if a picture has another size; those of the score.
pub fn faithfulness(
    score: &dyn DifferentiableScore,
    (picture, baseline): (&[f32], &[f32]),
    cells: Cells,
    order: &[usize],
    steps: usize,
) -> Result<Faithfulness> {
    score.size().ensure("faithfulness", picture, 1)?;
    score.size().ensure("faithfulness", baseline, 1)?;
    let mut place = vec![usize::MAX; cells.count()];
    for (rank, &cell) in order.iter().enumerate() {
        if let Some(place) = place.get_mut(cell) {
            *place = rank;
        }
    }
    let mixed = |first: &[f32], then: &[f32], count: usize| -> Vec<f32> {
        let pixels = first.chunks_exact(3).zip(then.chunks_exact(3)).enumerate();
        pixels
            .flat_map(|(pixel, (first, then))| {
                let changed = place.get(cells.of_pixel(pixel)).is_some_and(|&rank| rank < count);
                if changed { then } else { first }
            })
            .copied()
            .collect()
    };
    let counts = (1..=steps).map(|step| step * cells.count() / (steps + 1));
    // All points in one call, so that the image tower works on whole batches.
    let mut points: Vec<f32> = [picture, baseline].concat();
    for count in counts {
        points.extend(mixed(picture, baseline, count));
        points.extend(mixed(baseline, picture, count));
    }
    let scores = score.scores(&points)?;
    let (ends, between) = scores.split_at(scores.len().min(2));
    let (score, baseline_score) = (end(ends, 0), end(ends, 1));
    let sum = |which: usize| between.iter().skip(which).step_by(2).copied().map(f64::from).sum::<f64>();
    // Trapezoids: both ends count half.
    let area = |which: usize| (sum(which) + (score + baseline_score) / 2.0) / (steps + 1) as f64;
    Ok(Faithfulness { deletion: area(0), insertion: area(1), score, baseline_score })
}

fn end(ends: &[f32], which: usize) -> f64 {
    ends.get(which).copied().map_or(0.0, f64::from)
}

/// All cells in an order that means nothing, the same for the same seed.
pub fn random_order(cells: Cells, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..cells.count()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}

#[cfg(test)]
mod tests {
    use super::super::integrated_gradients::tests::WeightedSquares;
    use super::super::{PixelGrid, SaliencyMap};
    use super::*;

    #[test]
    fn the_right_order_beats_chance_and_chance_beats_the_reverse() {
        let size = PixelGrid { height: 8, width: 8 };
        let weights: Vec<f32> = (0..192).map(|value| if value / 3 % 8 < 2 { 1.0 } else { 0.0 }).collect();
        let map = SaliencyMap::new(size, weights.chunks_exact(3).map(|of| of[0]).collect()).unwrap();
        let score = WeightedSquares { size, weights };
        let cells = Cells { size, side: 4 };
        let run =
            |order: &[usize]| faithfulness(&score, (&[1.0; 192], &[0.0; 192]), cells, order, 7).unwrap();
        let right = map.ranked_cells(cells);
        let reverse: Vec<usize> = right.iter().rev().copied().collect();
        let (right, chance, reverse) = (run(&right), run(&random_order(cells, 1)), run(&reverse));
        assert!(right.deletion < chance.deletion && chance.deletion < reverse.deletion);
        assert!(right.insertion > chance.insertion && chance.insertion > reverse.insertion);
        assert!(right.gain() > 0.5 && reverse.gain() < -0.5, "{right:?} {reverse:?}");
        assert_eq!((right.score, right.baseline_score), (48.0, 0.0));
    }

    #[test]
    fn areas_are_those_of_trapezoids() {
        let size = PixelGrid { height: 1, width: 2 };
        let score = WeightedSquares { size, weights: vec![1.0, 1.0, 1.0, 0.0, 0.0, 0.0] };
        let cells = Cells { size, side: 2 };
        // Two of the four cells are empty, and the others are one pixel each.
        let found = faithfulness(&score, (&[1.0; 6], &[0.0; 6]), cells, &[0, 1, 2, 3], 3).unwrap();
        assert_eq!((found.deletion, found.insertion), (3.0 * 0.125, 3.0 * 0.875));
    }
}
