//! Integrated gradients (Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", 2017, equation 1).
//!
//! `attributionᵢ = (xᵢ − x′ᵢ) · ∫₀¹ ∂F(x′ + α·(x − x′))/∂xᵢ dα`: all attributions add up to `F(x) − F(x′)`, the
//! difference that they explain (completeness). The integral is a sum over midpoints, so that they add up nearly.
//!
//! Two departures:
//!
//! - The steps are not equal. An embedding of unit length turns fastest where the picture has only just begun to show,
//!   so that most of the score is gained in the first tenth of the way, which equal steps pass in a few strides. The
//!   k-th of n steps ends at `α = (k/n)³`.
//! - The steps add up. A convolutional trunk with thousands of kinked activations has a gradient that jitters along the
//!   way, and 64 points sample the jitter: attributions miss their sum by a few percent, however the points are placed.
//!   But what every step gains is known exactly, `F` at its end less `F` at its beginning, for the price of a pass
//!   without gradients. Each step's attributions are adjusted to it, all by the same share of their size, as IDGI does
//!   by the squares (Yang, Wang and Bilgic, CVPR 2023). How far they missed before is part of the result.

use super::{DifferentiableScore, SaliencyMap};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntegratedGradientsConfig {
    /// How many points of the way from baseline to picture are differentiated at, more of them near the baseline;
    /// default 64. Time grows with it.
    pub steps: usize,
    /// How many of them go through the network together; default 4. Memory grows with it.
    pub batch: usize,
}

impl Default for IntegratedGradientsConfig {
    fn default() -> Self {
        Self { steps: 64, batch: 4 }
    }
}

/// What every pixel adds to the score.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    /// One number a pixel, the sum over its channels.
    pub map: SaliencyMap,
    /// The picture's score.
    pub score: f32,
    /// The baseline's score.
    pub baseline_score: f32,
    /// What the attributions added up to before they were adjusted.
    pub unadjusted_sum: f64,
}

impl Attribution {
    /// `|Σ attributions − (F(x) − F(x′))| / |F(x) − F(x′)|`; 0 if both are 0.
    pub fn completeness_error(&self) -> f64 {
        self.error_of(self.map.sum())
    }

    /// The same before the steps were adjusted: how well the points alone integrate.
    pub fn unadjusted_completeness_error(&self) -> f64 {
        self.error_of(self.unadjusted_sum)
    }

    fn error_of(&self, sum: f64) -> f64 {
        let difference = f64::from(self.score) - f64::from(self.baseline_score);
        let error = (sum - difference).abs();
        if error == 0.0 { 0.0 } else { error / difference.abs() }
    }
}

/// Explains the score of one picture. A unit of `progress` is a step.
///
/// # Shapes
/// - `picture`, `baseline`: `[height × width × 3]`, normalised
///
/// # Errors
/// [`Error::Argument`] if a picture has another size, or `steps` or `batch` is 0; those of the score;
/// [`Error::Cancelled`].
pub fn integrated_gradients(
    score: &dyn DifferentiableScore,
    picture: &[f32],
    baseline: &[f32],
    config: IntegratedGradientsConfig,
    progress: &mut dyn Progress,
) -> Result<Attribution> {
    const NAME: &str = "integrated_gradients";
    let size = score.size();
    size.ensure(NAME, picture, 1)?;
    size.ensure(NAME, baseline, 1)?;
    if config.steps == 0 || config.batch == 0 {
        let found = format!("{} steps in batches of {}", config.steps, config.batch);
        return Err(Error::Argument { operation: NAME, expected: "at least one step".to_owned(), found });
    }
    // In double precision: the attributions of 150,000 values have to add up to a difference of scores.
    let way: Vec<f64> = picture.iter().zip(baseline).map(|(&x, &x0)| f64::from(x) - f64::from(x0)).collect();
    let (mut attributions, mut unadjusted_sum) = (vec![0.0f64; size.values()], 0.0);
    let strides = strides(config.steps);
    let at = |alphas: &[f32]| -> Vec<f32> {
        alphas.iter().flat_map(|&alpha| between(baseline, picture, alpha)).collect()
    };
    let start = score.scores(baseline)?.first().copied().map_or(0.0, f64::from);
    let (mut end_score, mut adjusted_sum, mut done) = (start, 0.0, 0);
    progress.begin("pixels", config.steps as u64);
    for batch in strides.chunks(config.batch) {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let middles: Vec<f32> = batch.iter().map(|stride| stride.middle).collect();
        let ends: Vec<f32> = batch.iter().map(|stride| stride.end).collect();
        let gradients = score.gradients(&at(&middles))?.gradients;
        let scores = score.scores(&at(&ends))?;
        let gradients = gradients.chunks_exact(size.values().max(1));
        for ((stride, gradient), &score) in batch.iter().zip(gradients).zip(&scores) {
            let step: Vec<f64> = gradient
                .iter()
                .zip(&way)
                .map(|(&value, way)| stride.length * way * f64::from(value))
                .collect();
            unadjusted_sum += step.iter().sum::<f64>();
            end_score = f64::from(score);
            // What a step without any gradient has gained is owed by the next one.
            let share = adjustment(&step, end_score - start - adjusted_sum);
            for (sum, value) in attributions.iter_mut().zip(&step) {
                // In proportion to each attribution's size, so that signs stay and pixels that did nothing get
                // nothing.
                let adjusted = value + share * value.abs();
                *sum += adjusted;
                adjusted_sum += adjusted;
            }
        }
        done += batch.len();
        progress.advance(done as u64);
    }
    progress.end();
    let attributions: Vec<f32> = attributions.into_iter().map(|value| value as f32).collect();
    let map = SaliencyMap::of_channels(size, &attributions)?;
    Ok(Attribution { map, score: end_score as f32, baseline_score: start as f32, unadjusted_sum })
}

/// By which share of their size a step's attributions grow (those below 0 shrink) to add up to what the step gains.
fn adjustment(step: &[f64], gain: f64) -> f64 {
    let size: f64 = step.iter().map(|value| value.abs()).sum();
    if size > 0.0 { (gain - step.iter().sum::<f64>()) / size } else { 0.0 }
}

/// A part of the way from baseline to picture.
struct Stride {
    middle: f32,
    end: f32,
    length: f64,
}

/// The whole way in so many strides, each longer than the one before.
fn strides(steps: usize) -> Vec<Stride> {
    // Short steps near the baseline, where the score of a picture that fades in changes fastest.
    let end = |step: usize| (step as f64 / steps as f64).powi(3);
    (0..steps)
        .map(|step| {
            let (from, to) = (end(step), end(step + 1));
            Stride { middle: ((from + to) / 2.0) as f32, end: to as f32, length: to - from }
        })
        .collect()
}

fn between<'a>(baseline: &'a [f32], picture: &'a [f32], share: f32) -> impl Iterator<Item = f32> + 'a {
    baseline.iter().zip(picture).map(move |(&from, &to)| from + share * (to - from))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{PixelGrid, ScoredGradients};
    use super::*;
    use crate::progress::Silent;
    use crate::progress::tests::Watched;

    /// `Σ wᵢ·xᵢ²` over a picture's values: its gradient is `2·wᵢ·xᵢ`, its attribution from 0 is `wᵢ·xᵢ²`.
    pub(in super::super) struct WeightedSquares {
        pub(in super::super) size: PixelGrid,
        pub(in super::super) weights: Vec<f32>,
    }

    impl DifferentiableScore for WeightedSquares {
        fn size(&self) -> PixelGrid {
            self.size
        }

        fn scores(&self, pictures: &[f32]) -> Result<Vec<f32>> {
            let score = |picture: &[f32]| picture.iter().zip(&self.weights).map(|(x, w)| w * x * x).sum();
            Ok(pictures.chunks_exact(self.size.values()).map(score).collect())
        }

        fn gradients(&self, pictures: &[f32]) -> Result<ScoredGradients> {
            let weights = self.weights.iter().cycle();
            let gradients = pictures.iter().zip(weights).map(|(x, w)| 2.0 * w * x).collect();
            Ok(ScoredGradients { scores: self.scores(pictures)?, gradients })
        }
    }

    #[test]
    fn attributions_of_a_known_function_are_exact_and_complete() {
        let size = PixelGrid { height: 2, width: 2 };
        let weights: Vec<f32> = (0..12u8).map(|i| f32::from(i) - 4.0).collect();
        let score = WeightedSquares { size, weights: weights.clone() };
        let picture: Vec<f32> = (0..12u8).map(|i| f32::from(i % 5) * 0.3).collect();
        for (steps, batch) in [(1, 1), (7, 3), (8, 64)] {
            let config = IntegratedGradientsConfig { steps, batch };
            let mut watch = Watched::default();
            let found = integrated_gradients(&score, &picture, &[0.0; 12], config, &mut watch).unwrap();
            assert_eq!((watch.total, watch.advances.last()), (steps as u64, Some(&(steps as u64))));
            // The midpoint rule is exact for a gradient that is linear in α.
            let exact: Vec<f32> = picture.iter().zip(&weights).map(|(x, w)| w * x * x).collect();
            let expected = SaliencyMap::of_channels(size, &exact).unwrap();
            let near = found.map.values().iter().zip(expected.values()).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(near, "{found:?}");
            assert!(found.completeness_error() < 1e-5, "{}", found.completeness_error());
        }
    }

    /// The mean of `max(0, x − kink)`: nearly everything happens behind the kinks, where few midpoints see it.
    struct Kinked {
        size: PixelGrid,
        kinks: Vec<f32>,
    }

    impl DifferentiableScore for Kinked {
        fn size(&self) -> PixelGrid {
            self.size
        }

        fn scores(&self, pictures: &[f32]) -> Result<Vec<f32>> {
            let score =
                |picture: &[f32]| picture.iter().zip(&self.kinks).map(|(x, kink)| (x - kink).max(0.0)).sum();
            Ok(pictures.chunks_exact(self.size.values()).map(score).collect())
        }

        fn gradients(&self, pictures: &[f32]) -> Result<ScoredGradients> {
            let kinks = self.kinks.iter().cycle();
            let gradients =
                pictures.iter().zip(kinks).map(|(x, kink)| f32::from(u8::from(x > kink))).collect();
            Ok(ScoredGradients { scores: self.scores(pictures)?, gradients })
        }
    }

    #[test]
    fn steps_add_up_where_midpoints_miss_and_signs_stay() {
        let size = PixelGrid { height: 1, width: 1 };
        let score = Kinked { size, kinks: vec![0.9, 0.2, 2.0] };
        let config = IntegratedGradientsConfig { steps: 3, batch: 2 };
        let found = integrated_gradients(&score, &[1.0; 3], &[0.0; 3], config, &mut Silent).unwrap();
        assert!(found.unadjusted_completeness_error() > 0.1, "{}", found.unadjusted_completeness_error());
        assert!(found.completeness_error() < 1e-6, "{}", found.completeness_error());
        assert!(found.map.values().iter().all(|&value| value >= 0.0), "{found:?}");
        assert_eq!((found.score, found.baseline_score), (0.1 + 0.8, 0.0));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let size = PixelGrid { height: 1, width: 1 };
        let score = WeightedSquares { size, weights: vec![1.0; 3] };
        let none = IntegratedGradientsConfig { steps: 0, batch: 1 };
        let run =
            |picture: &[f32], config| integrated_gradients(&score, picture, &[0.0; 3], config, &mut Silent);
        assert!(run(&[1.0; 3], none).is_err());
        let error = run(&[1.0; 4], IntegratedGradientsConfig::default()).unwrap_err().to_string();
        assert_eq!(error, "integrated_gradients: expected 1 pictures of 1 × 1 pixels, found 4 values");
    }
}
