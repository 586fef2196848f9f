//! Rotary angles for the patches of a picture.

use candle_core::{Device, Tensor};

use crate::Result;

/// The base of the frequencies.
const TEMPERATURE: f64 = 10_000.0;

/// Half of a head's pairs turn with the patch's row, half with its column; the class token does not turn.
#[derive(Debug, Clone)]
pub(super) struct RotaryGrid {
    /// Angles of one picture's tokens, the class token first, `pairs` for each.
    angles: Vec<f64>,
    pairs: usize,
}

/// Cosines and sines, each `[images · tokens, pairs]`.
#[derive(Debug, Clone)]
pub(super) struct RotaryAngles {
    pub(super) cos: Tensor,
    pub(super) sin: Tensor,
}

impl RotaryGrid {
    /// `grid` patches along each side, stretched over the `reference` patches of pre-training.
    pub(super) fn new(grid: usize, reference: usize, head_width: usize) -> Self {
        let bands = head_width / 4;
        let frequencies: Vec<f64> =
            (0..bands).map(|band| TEMPERATURE.powf(-(band as f64) / bands as f64)).collect();
        // A finer grid is squeezed into the range of positions that pre-training saw.
        let place = |patch: usize| patch as f64 / grid as f64 * reference as f64;
        // The class token comes first and does not turn.
        let mut angles = vec![0.0; 2 * bands];
        for row in 0..grid {
            for column in 0..grid {
                angles.extend(frequencies.iter().map(|frequency| place(row) * frequency));
                angles.extend(frequencies.iter().map(|frequency| place(column) * frequency));
            }
        }
        Self { angles, pairs: 2 * bands }
    }

    /// The same angles for every picture.
    pub(super) fn repeated(&self, images: usize) -> Result<RotaryAngles> {
        let table = |function: fn(f64) -> f64| -> Result<Tensor> {
            let one: Vec<f32> = self.angles.iter().map(|&angle| function(angle) as f32).collect();
            let tokens = one.len().checked_div(self.pairs).unwrap_or(0);
            Ok(Tensor::from_vec(one.repeat(images), (images * tokens, self.pairs), &Device::Cpu)?)
        };
        Ok(RotaryAngles { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }
}
