//! How the order of the tokens enters: rotary angles, or biases that fall with the distance.

use std::f64::consts::PI;

use candle_core::{Device, Tensor};

use super::config::{RotaryConfig, RotaryScaling};
use crate::Result;

/// How far each pair of a head's elements turns from one position to the next.
#[derive(Debug, Clone)]
pub(super) struct RotaryFrequencies {
    frequencies: Vec<f32>,
}

impl RotaryFrequencies {
    pub(super) fn new(config: &RotaryConfig, head_dim: usize) -> Self {
        let frequency = |i: usize| {
            let exponent = (2 * i) as f64 / head_dim as f64;
            let plain = config.theta.powf(exponent).recip();
            config.scaling.scaled(plain) as f32
        };
        Self { frequencies: (0..head_dim / 2).map(frequency).collect() }
    }

    /// The cosines and sines of the positions, each `[positions, head_dim / 2]`.
    pub(super) fn of_positions(&self, positions: &[usize]) -> Result<(Tensor, Tensor)> {
        let shape = (positions.len(), self.frequencies.len());
        let angles = positions
            .iter()
            // Rounded to single precision before the sine, as the reference does: at long positions the angle's last
            // digits show.
            .flat_map(|&position| self.frequencies.iter().map(move |frequency| position as f32 * frequency));
        let (sines, cosines): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
        let cos = Tensor::from_vec(cosines, shape, &Device::Cpu)?;
        Ok((cos, Tensor::from_vec(sines, shape, &Device::Cpu)?))
    }
}

impl RotaryScaling {
    /// What becomes of a frequency, in radians from one position to the next.
    pub(crate) fn scaled(&self, frequency: f64) -> f64 {
        match *self {
            RotaryScaling::None => frequency,
            RotaryScaling::Linear { factor } => frequency / factor,
            RotaryScaling::Llama3 {
                factor,
                low_frequency_factor: low,
                high_frequency_factor: high,
                original_context_length,
            } => {
                // How many whole waves lie in the original context; from `low` to `high` the change fades out.
                let waves = original_context_length as f64 * frequency / (2.0 * PI);
                let kept = ((waves - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }
    }
}

/// How fast the scores of each head fall with the distance between query and key.
///
/// For a power of two: 2^(−8/heads), and its powers. For other numbers, the next smaller power of two gives the
/// first slopes, every second slope of the next larger one the rest.
fn slopes(heads: usize) -> Vec<f32> {
    let power = heads.checked_ilog2().map_or(0, |exponent| 1usize << exponent);
    let slope = |count: usize, i: usize| 2.0f64.powf(-8.0 * (i + 1) as f64 / count as f64) as f32;
    let first = (0..power).map(|i| slope(power, i));
    first.chain((0..heads - power).map(|i| slope(2 * power, 2 * i))).collect()
}

/// What is added to the scores for each head and distance, up to sequences of `reach` tokens.
///
/// # Shapes
/// - output: `[heads, 2·reach − 1]`, the distance 0 in the middle
pub(super) fn distance_bias(heads: usize, reach: usize) -> Result<Tensor> {
    let reach = reach.max(1);
    let span = 2 * reach - 1;
    let bias = slopes(heads)
        .into_iter()
        .flat_map(|slope| (0..span).map(move |i| -slope * (i as f32 - (reach - 1) as f32).abs()))
        .collect::<Vec<f32>>();
    Ok(Tensor::from_vec(bias, (heads, span), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_the_paper() {
        assert_eq!(slopes(8), [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015_625, 0.007_812_5, 0.003_906_25]);
        let uneven = slopes(6);
        assert_eq!(uneven[..4], [0.25, 0.0625, 0.015_625, 0.003_906_25]);
        assert_eq!(uneven[4..], [0.5, 0.125]);
        assert!(slopes(0).is_empty());
    }

    #[test]
    fn scores_fall_on_both_sides() {
        let bias = distance_bias(1, 3).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let slope = 2.0f32.powi(-8);
        assert_eq!(bias, [-2.0 * slope, -slope, 0.0, -slope, -2.0 * slope]);
    }
}
