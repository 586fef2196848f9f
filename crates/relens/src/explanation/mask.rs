//! Optimised masks: I-GOS (Qi, Khorram and Li, "Visualizing Deep Networks by Optimizing with Integrated Gradients",
//! 2020).
//!
//! Sought is a mask `M` (1 keeps, 0 deletes) that takes the score away with little deletion:
//! `min F(I·M + B·(1 − M)) + λ₁·mean(1 − M) + λ₂·TV(M)`, where `B` is the baseline. The gradient of `F` is replaced by
//! its integral along the way from `M` to 0 (their equation 5), which points at what deletes the score for good
//! instead of the next small dip; a backtracking line search takes the step (their equation 7).
//!
//! Departures: `F` is measured in units of `|F(I) − F(B)|`, so that λ₁ and λ₂ mean the same for a cosine of 0.2 and for
//! a probability of 1; the integral has a handful of points (theirs: 20), and the step is accepted when the objective
//! falls at all.

use super::saliency::BilinearUpsampling;
use super::{DifferentiableScore, SaliencyMap};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskConfig {
    /// Cells of the mask in each direction; default 14. More follow outlines closer, and noise too.
    pub side: usize,
    /// Steps of descent; default 15.
    pub iterations: usize,
    /// Points of the integral; default 6.
    pub integration_steps: usize,
    /// λ₁, the price of deleting everything; default 0.6.
    pub area: f32,
    /// λ₂, the price of total variation; default 0.3.
    pub total_variation: f32,
}

impl Default for MaskConfig {
    fn default() -> Self {
        Self { side: 14, iterations: 15, integration_steps: 6, area: 0.6, total_variation: 0.3 }
    }
}

/// What had to be deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizedMask {
    /// `1 − M` a pixel, from 0 (kept) to 1 (deleted).
    pub map: SaliencyMap,
    /// The picture's score.
    pub score: f32,
    /// The baseline's score.
    pub baseline_score: f32,
    /// The score without what was deleted.
    pub masked_score: f32,
    /// The share of the picture that was deleted.
    pub area: f32,
}

/// The first step of a line search moves a cell by at most this much.
const LARGEST_MOVE: f32 = 0.5;
/// How often a step is halved before the search gives up.
const HALVINGS: i32 = 8;

/// Optimises a mask for one picture. A unit of `progress` is an iteration.
///
/// # Shapes
/// - `picture`, `baseline`: `[height × width × 3]`, normalised
///
/// # Errors
/// [`Error::Argument`] if a picture has another size or a setting is 0; those of the score; [`Error::Cancelled`].
pub fn optimize_mask(
    score: &dyn DifferentiableScore,
    picture: &[f32],
    baseline: &[f32],
    config: MaskConfig,
    progress: &mut dyn Progress,
) -> Result<OptimizedMask> {
    const NAME: &str = "optimize_mask";
    let size = score.size();
    size.ensure(NAME, picture, 1)?;
    size.ensure(NAME, baseline, 1)?;
    if config.side == 0 || config.integration_steps == 0 {
        let found = format!("{} cells, {} points", config.side, config.integration_steps);
        return Err(Error::Argument { operation: NAME, expected: "at least one of each".to_owned(), found });
    }
    let ends = score.scores(&[picture, baseline].concat())?;
    let [full, empty] = <[f32; 2]>::try_from(ends).map_err(|ends| Error::Argument {
        operation: NAME,
        expected: "two scores".to_owned(),
        found: ends.len().to_string(),
    })?;
    let upsampling = BilinearUpsampling::new(config.side, size);
    // In units of what the picture adds to the score, so that the weights mean the same for every query.
    let unit = (full - empty).abs().max(f32::EPSILON);
    let problem = Problem { score, picture, baseline, upsampling, unit, config };
    let mut mask = vec![1.0f32; config.side * config.side];
    let mut objective = problem.objective(&mask)?;
    progress.begin("pixels", config.iterations as u64);
    for iteration in 1..=config.iterations {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let direction = problem.direction(&mask)?;
        let Some((moved, lower)) = problem.line_search(&mask, &direction, objective)? else { break };
        (mask, objective) = (moved, lower);
        progress.advance(iteration as u64);
    }
    progress.end();
    let masked_score = problem.masked_score(&mask)?;
    let deleted: Vec<f32> = problem.upsampling.forward(&mask).into_iter().map(|kept| 1.0 - kept).collect();
    let area = deleted.iter().sum::<f32>() / deleted.len().max(1) as f32;
    let map = SaliencyMap::new(size, deleted)?;
    Ok(OptimizedMask { map, score: full, baseline_score: empty, masked_score, area })
}

struct Problem<'a> {
    score: &'a dyn DifferentiableScore,
    picture: &'a [f32],
    baseline: &'a [f32],
    upsampling: BilinearUpsampling,
    /// What the score is measured in.
    unit: f32,
    config: MaskConfig,
}

impl Problem<'_> {
    /// `I·M + B·(1 − M)`, with `M` multiplied by `scale`.
    fn masked(&self, mask: &[f32], scale: f32) -> Vec<f32> {
        let kept = self.upsampling.forward(mask);
        let pixels = self.picture.chunks_exact(3).zip(self.baseline.chunks_exact(3)).zip(&kept);
        pixels
            .flat_map(|((picture, baseline), kept)| {
                picture.iter().zip(baseline).map(move |(&x, &x0)| x0 + scale * kept * (x - x0))
            })
            .collect()
    }

    fn masked_score(&self, mask: &[f32]) -> Result<f32> {
        Ok(self.score.scores(&self.masked(mask, 1.0))?.into_iter().sum())
    }

    fn objective(&self, mask: &[f32]) -> Result<f32> {
        let deleted = mask.iter().map(|kept| 1.0 - kept).sum::<f32>() / mask.len() as f32;
        let variation = total_variation(mask, self.config.side).0;
        let regularised = self.config.area * deleted + self.config.total_variation * variation;
        Ok(self.masked_score(mask)? / self.unit + regularised)
    }

    /// The integrated gradient of the score and the gradient of both prices.
    fn direction(&self, mask: &[f32]) -> Result<Vec<f32>> {
        let steps = self.config.integration_steps;
        let mut sums = vec![0.0f32; self.picture.len() / 3];
        for step in 1..=steps {
            // Averaged along the way from the baseline: the gradient at the picture itself is often flat.
            let scale = step as f32 / steps as f32;
            let gradients = self.score.gradients(&self.masked(mask, scale))?.gradients;
            let values = gradients.iter().zip(self.picture.iter().zip(self.baseline));
            let products: Vec<f32> = values.map(|(gradient, (&x, &x0))| gradient * (x - x0)).collect();
            let pixels = products.chunks_exact(3).map(|channels| channels.iter().sum::<f32>());
            sums.iter_mut().zip(pixels).for_each(|(sum, value)| *sum += value);
        }
        let factor = 1.0 / (steps as f32 * self.unit);
        let of_score = self.upsampling.backward(&sums);
        let of_variation = total_variation(mask, self.config.side).1;
        let area = -self.config.area / mask.len() as f32;
        let combined = of_score.iter().zip(&of_variation).map(|(of_score, of_variation)| {
            factor * of_score + self.config.total_variation * of_variation + area
        });
        Ok(combined.collect())
    }

    /// The longest of ever shorter steps that lowers the objective.
    fn line_search(&self, mask: &[f32], direction: &[f32], from: f32) -> Result<Option<(Vec<f32>, f32)>> {
        let steepest = direction.iter().fold(0.0f32, |steepest, value| steepest.max(value.abs()));
        if steepest <= 0.0 {
            return Ok(None);
        }
        // An integrated gradient is no exact slope, so a step is kept only if it does make the objective smaller.
        for halving in 0..HALVINGS {
            let step = LARGEST_MOVE / steepest * 0.5f32.powi(halving);
            let moved = mask.iter().zip(direction).map(|(kept, slope)| (kept - step * slope).clamp(0.0, 1.0));
            let moved: Vec<f32> = moved.collect();
            let objective = self.objective(&moved)?;
            if objective < from {
                return Ok(Some((moved, objective)));
            }
        }
        Ok(None)
    }
}

/// The mean squared difference of neighbours, and its gradient.
fn total_variation(mask: &[f32], side: usize) -> (f32, Vec<f32>) {
    let mut gradient = vec![0.0; mask.len()];
    let mut sum = 0.0;
    let scale = 1.0 / mask.len().max(1) as f32;
    let right = (0..mask.len()).filter(|cell| (cell + 1) % side != 0).map(|cell| (cell, cell + 1));
    let below = (0..mask.len().saturating_sub(side)).map(|cell| (cell, cell + side));
    for (one, other) in right.chain(below) {
        let difference = mask[one] - mask[other];
        sum += difference * difference * scale;
        gradient[one] += 2.0 * difference * scale;
        gradient[other] -= 2.0 * difference * scale;
    }
    (sum, gradient)
}

#[cfg(test)]
mod tests {
    use super::super::PixelGrid;
    use super::super::integrated_gradients::tests::WeightedSquares;
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn the_mask_deletes_what_the_score_lives_on_and_little_else() {
        let size = PixelGrid { height: 8, width: 8 };
        // Only the upper left quarter counts.
        let counts = |pixel: usize| pixel / 8 < 4 && pixel % 8 < 4;
        let weights = (0..192).map(|value| if counts(value / 3) { 1.0 } else { 0.0 }).collect();
        let score = WeightedSquares { size, weights };
        let config = MaskConfig { side: 4, ..MaskConfig::default() };
        let found = optimize_mask(&score, &[1.0; 192], &[0.0; 192], config, &mut Silent).unwrap();
        let mean = |inside: bool| {
            let values = found.map.values().iter().enumerate().filter(|(pixel, _)| counts(*pixel) == inside);
            let values: Vec<f32> = values.map(|(_, value)| *value).collect();
            values.iter().sum::<f32>() / values.len() as f32
        };
        assert!(mean(true) > 0.5 && mean(false) < 0.25, "{} {}", mean(true), mean(false));
        assert!(found.masked_score < 0.3 * found.score, "{} of {}", found.masked_score, found.score);
        assert!(found.map.values().iter().all(|value| (0.0..=1.0).contains(value)));
    }

    #[test]
    fn the_gradient_of_total_variation_is_that_of_finite_differences() {
        let mask: Vec<f32> = (0..9u8).map(|i| f32::from(i * 7 % 5) * 0.2).collect();
        let (_, gradient) = total_variation(&mask, 3);
        for cell in 0..9 {
            let moved = |by: f32| {
                let mut mask = mask.clone();
                mask[cell] += by;
                total_variation(&mask, 3).0
            };
            let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((numeric - gradient[cell]).abs() < 1e-4, "{cell}: {numeric} {}", gradient[cell]);
        }
    }

    #[test]
    fn a_score_that_nothing_changes_deletes_nothing() {
        let score = WeightedSquares { size: PixelGrid { height: 4, width: 4 }, weights: vec![0.0; 48] };
        let config = MaskConfig { side: 2, iterations: 3, ..MaskConfig::default() };
        let found = optimize_mask(&score, &[1.0; 48], &[0.0; 48], config, &mut Silent).unwrap();
        assert_eq!((found.area, found.masked_score), (0.0, 0.0));
    }
}
