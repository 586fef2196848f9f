//! A linear map's weight in eight bits.

use std::ops::Range;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::super::arguments::refuse;
use super::super::parallel::for_row_blocks;
use super::dot::{GROUP, PANEL};
use crate::Result;

/// The largest magnitude of a weight.
const LARGEST: f32 = 127.0;

/// Inputs beyond which sums of 255 · 127 could leave 32 bits.
const MAX_INPUTS: usize = 1 << 16;

/// Weights of one group of inputs for sixteen outputs: a register, on a cache line of its own.
#[derive(Clone, Copy, Zeroable, Pod)]
#[repr(C, align(64))]
struct WeightLine([i8; 64]);

/// A linear map's weight, rounded to −127…127 with a scale for each output. Cloning shares it.
#[derive(Clone)]
pub struct Int8Matrix {
    inputs: usize,
    outputs: usize,
    packed: Arc<PackedInt8>,
}

/// Panels of 64 outputs; what pads the last one, and the last group of inputs, is zero.
#[derive(Default)]
struct PackedInt8 {
    /// `[panels, groups, 64, 4]`
    quants: Vec<WeightLine>,
    /// What a unit is worth, for each output.
    scales: Vec<f32>,
    /// Σ of the rounded weights of each output, which a row's zero point is multiplied by.
    sums: Vec<i32>,
}

impl Int8Matrix {
    /// Whether a map of so many inputs can be rounded.
    pub fn fits(inputs: usize) -> bool {
        (1..=MAX_INPUTS).contains(&inputs)
    }

    /// Rounds a matrix, `[outputs, inputs]` as checkpoints store it.
    ///
    /// # Errors
    /// When there is another number of values, or there are too many inputs for sums of 32 bits.
    pub fn quantize(values: &[f32], outputs: usize, inputs: usize) -> Result<Self> {
        if !Self::fits(inputs) || outputs.checked_mul(inputs) != Some(values.len()) {
            let expected = format!("{outputs} rows of {inputs} inputs, at most {MAX_INPUTS}");
            return Err(refuse("Int8Matrix", expected, format!("{} values", values.len())));
        }
        let (panels, groups) = (outputs.div_ceil(PANEL), inputs.div_ceil(GROUP));
        let panel_length = groups * PANEL * GROUP;
        let mut packed = PackedInt8 {
            quants: vec![WeightLine([0; 64]); panels * panel_length / 64],
            scales: vec![0.0; panels * PANEL],
            sums: vec![0; panels * PANEL],
        };
        let quants: &mut [i8] = bytemuck::cast_slice_mut(&mut packed.quants);
        for_row_blocks(quants, panel_length, 1, |first, block| {
            for (panel, block) in block.chunks_exact_mut(panel_length).enumerate() {
                pack_panel(values, (first + panel) * PANEL..outputs, inputs, block);
            }
        });
        // Packing rounded by the same scale: `pack_panel` derives it from the row again, which spares a shared table.
        for (output, row) in values.chunks_exact(inputs).enumerate() {
            packed.scales[output] = largest(row) / LARGEST;
        }
        let quants: &[i8] = bytemuck::cast_slice(&packed.quants);
        for (panel, block) in quants.chunks_exact(panel_length).enumerate() {
            let sums = &mut packed.sums[panel * PANEL..(panel + 1) * PANEL];
            for group in block.chunks_exact(PANEL * GROUP) {
                for (sum, weights) in sums.iter_mut().zip(group.chunks_exact(GROUP)) {
                    // From the rounded weights, not the given ones: the zero point was multiplied with what the
                    // product multiplies.
                    *sum += weights.iter().map(|&weight| i32::from(weight)).sum::<i32>();
                }
            }
        }
        Ok(Self { inputs, outputs, packed: Arc::new(packed) })
    }

    /// The outputs of several maps of the same inputs, side by side; none when they cannot be put together.
    pub fn concatenate(parts: &[&Self]) -> Option<Self> {
        let first = parts.first()?;
        // Panels are copied whole; one that is only partly filled would leave a gap in the middle.
        let whole_panels = parts.iter().all(|part| part.outputs.is_multiple_of(PANEL));
        if !whole_panels || parts.iter().any(|part| part.inputs != first.inputs) {
            return None;
        }
        let mut packed = PackedInt8::default();
        for part in parts {
            packed.quants.extend_from_slice(&part.packed.quants);
            packed.scales.extend_from_slice(&part.packed.scales);
            packed.sums.extend_from_slice(&part.packed.sums);
        }
        let outputs = parts.iter().map(|part| part.outputs).sum();
        Some(Self { inputs: first.inputs, outputs, packed: Arc::new(packed) })
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Groups of inputs that are multiplied together, the last one padded.
    pub(super) fn groups(&self) -> usize {
        self.inputs.div_ceil(GROUP)
    }

    /// The weights of some panels, `[panels, groups, 64, 4]`.
    pub(super) fn panels(&self, panels: Range<usize>) -> &[i8] {
        let length = self.groups() * PANEL * GROUP;
        &bytemuck::cast_slice(&self.packed.quants)[panels.start * length..panels.end * length]
    }

    /// Scales and sums of a panel's outputs.
    pub(super) fn scales_and_sums(&self, panel: usize) -> (&[f32], &[i32]) {
        let range = panel * PANEL..(panel + 1) * PANEL;
        (&self.packed.scales[range.clone()], &self.packed.sums[range])
    }
}

fn largest(row: &[f32]) -> f32 {
    row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()))
}

/// Rounds the outputs that begin at `outputs.start`, as many as a panel holds.
fn pack_panel(values: &[f32], outputs: Range<usize>, inputs: usize, block: &mut [i8]) {
    for (place, output) in outputs.take(PANEL).enumerate() {
        let row = &values[output * inputs..(output + 1) * inputs];
        let scale = largest(row) / LARGEST;
        // A row of zeros has no scale, and stays zeros.
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        for (group, weights) in row.chunks(GROUP).enumerate() {
            let start = (group * PANEL + place) * GROUP;
            for (quant, weight) in block[start..].iter_mut().zip(weights) {
                // −128 is never reached: a symmetric range keeps 0 at 0 and the largest magnitude exact.
                *quant = (weight * inverse).round() as i8;
            }
        }
    }
}

impl std::fmt::Debug for Int8Matrix {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Int8Matrix({} inputs, {} outputs)", self.inputs, self.outputs)
    }
}
