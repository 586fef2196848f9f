//! The angles of rotary position embedding, computed in single precision as the reference does.

use std::f64::consts::PI;

use candle_core::{Device, Tensor};

use super::config::{RotaryConfig, RotaryScaling};
use crate::Result;

/// How far each pair of a head's elements turns from one position to the next.
#[derive(Debug, Clone)]
pub(super) struct RotaryAngles {
    frequencies: Vec<f32>,
}

impl RotaryAngles {
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
