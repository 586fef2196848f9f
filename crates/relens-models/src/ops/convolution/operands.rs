//! What a product in panels reads and writes: packed weights, pixels, the place of the results.

use super::panels::{AlignedBuffer, PANEL, panel_count, panel_width};

/// Weights `[inputs, outputs]` and bias of a convolution, cut into panels of outputs `[panels, inputs, width]`.
pub(crate) struct PackedWeights {
    pub(super) inputs: usize,
    outputs: usize,
    weights: AlignedBuffer,
    bias: AlignedBuffer,
}

impl PackedWeights {
    /// Packs `weight(input, output)` and `bias[output]`.
    pub(crate) fn new(inputs: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Self {
        let outputs = bias.len();
        let panels = panel_count(outputs);
        // Zeros pad the last panel: its surplus channels come out as the activation of 0 and are never read.
        let mut packed = AlignedBuffer::zeros(panels * inputs * PANEL);
        let mut packed_bias = AlignedBuffer::zeros(panels * PANEL);
        packed_bias.as_mut_slice()[..outputs].copy_from_slice(bias);
        for (panel, values) in packed.as_mut_slice().chunks_exact_mut(inputs * PANEL).enumerate() {
            let width = panel_width(outputs, panel);
            for (input, row) in values.chunks_exact_mut(width).take(inputs).enumerate() {
                for (value, output) in row.iter_mut().zip(panel * PANEL..outputs) {
                    *value = weight(input, output);
                }
            }
        }
        Self { inputs, outputs, weights: packed, bias: packed_bias }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(crate) fn panels(&self) -> usize {
        panel_count(self.outputs)
    }

    pub(super) fn panel(&self, panel: usize) -> (&[f32], &[f32]) {
        let width = panel_width(self.outputs, panel);
        let start = panel * self.inputs * PANEL;
        let weights = &self.weights.as_slice()[start..start + self.inputs * width];
        let bias = &self.bias.as_slice()[panel * PANEL..panel * PANEL + width];
        (weights, bias)
    }
}

/// Where a 1×1 convolution looks: at the pixel itself.
pub(crate) const ONE_TAP: &[usize] = &[0];

/// Where the inputs of consecutive pixels lie: in segments of `segment_length` inputs, `segment_step` numbers apart,
/// and each segment at all `taps`, the places under the kernel as distances from the first of them. Weights are in
/// that order: segments, in them taps, in them inputs.
///
/// Within a segment, pixels are `STEP` numbers apart: [`PANEL`] for activations in panels; for the stem, whose
/// segments are rows of the picture under the kernel, twice the picture's channels.
#[derive(Clone, Copy)]
pub(crate) struct Pixels<'a, const STEP: usize> {
    /// From the first pixel's first input on.
    pub(crate) data: &'a [f32],
    pub(crate) count: usize,
    pub(crate) segment_length: usize,
    pub(crate) segment_step: usize,
    pub(crate) taps: &'a [usize],
}

/// Where the results go: pixels lie side by side, but after each `row` pixels, `gap` numbers are left alone.
pub(crate) struct Destination<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) row: usize,
    pub(crate) gap: usize,
}

impl Destination<'_> {
    pub(super) fn needed(&self, pixels: usize) -> usize {
        pixels * PANEL + pixels.saturating_sub(1) / self.row.max(1) * self.gap
    }
}

/// What happens to the sums before they are written.
#[derive(Clone, Copy)]
pub(crate) enum PanelEpilogue<'a> {
    /// Clamped to 0–6.
    Relu6,
    /// Negative ones become 0.
    Relu,
    /// Nothing.
    Linear,
    /// The block's input is added: the same panel, the same pixels.
    Residual(&'a [f32]),
    /// The same, then negative ones become 0.
    ResidualRelu(&'a [f32]),
}

impl<'a> PanelEpilogue<'a> {
    pub(super) fn residual(self) -> Option<&'a [f32]> {
        match self {
            Self::Residual(residual) | Self::ResidualRelu(residual) => Some(residual),
            Self::Relu6 | Self::Relu | Self::Linear => None,
        }
    }

    /// The same for results from number `start` on.
    pub(crate) fn starting_at(self, start: usize) -> Self {
        match self {
            Self::Residual(residual) => Self::Residual(&residual[start..]),
            Self::ResidualRelu(residual) => Self::ResidualRelu(&residual[start..]),
            Self::Relu6 | Self::Relu | Self::Linear => self,
        }
    }

    /// The bounds of the result.
    pub(super) fn clamp(self) -> (Option<f32>, Option<f32>) {
        match self {
            Self::Relu6 => (Some(0.0), Some(6.0)),
            Self::Relu | Self::ResidualRelu(_) => (Some(0.0), None),
            Self::Linear | Self::Residual(_) => (None, None),
        }
    }
}
