//! Products of eight-bit integers: weights rounded once for each output, activations for each row as they come.
//!
//! Where a transformer is limited by arithmetic and not by memory, integers of eight bits do four multiply-adds in the
//! place of one. Weights are symmetric with a scale for each output (*per channel*), activations have a scale and a
//! zero point for each row (*per token, dynamic*), which a GELU's lopsided range needs. Sums are exact, so all kernels
//! give the same bits; only scaling, bias and activation are in f32. For inference: there is no backward pass.

mod dot;
mod product;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use candle_core::{Device, Tensor};

use self::dot::{GROUP, PANEL};
use super::arguments::{Elements, contiguous_f32, expect_dims, last_dim, refuse};
use super::epilogue::{Epilogue, Finish};
use super::parallel::for_row_blocks;
use crate::Result;

/// activation(x·W + b) + residual with W in eight bits, each step if it is there.
///
/// # Shapes
/// - `x`: `[.., inputs]`
/// - `bias`: `[outputs]`
/// - `residual`, output: `[.., outputs]`
///
/// # Errors
/// When the shapes do not fit, a tensor is not f32, or one tracks gradients.
pub fn int8_linear(
    x: &Tensor,
    matrix: &Int8Matrix,
    bias: Option<&Tensor>,
    finish: Finish<'_>,
) -> Result<Tensor> {
    const NAME: &str = "int8_linear";
    if x.track_op() || bias.is_some_and(Tensor::track_op) {
        return Err(refuse(NAME, "tensors without gradients", "one that tracks them"));
    }
    if last_dim(NAME, x)? != matrix.inputs() {
        let expected = format!("x of shape [.., {}]", matrix.inputs());
        return Err(refuse(NAME, expected, format!("{:?}", x.dims())));
    }
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = matrix.outputs();
    }
    if let Some(bias) = bias {
        expect_dims(NAME, "bias", bias, &[matrix.outputs()])?;
    }
    if let Some(residual) = finish.residual {
        expect_dims(NAME, "residual", residual, &dims)?;
    }
    let x = contiguous_f32(NAME, x)?;
    let bias = bias.map(|bias| contiguous_f32(NAME, bias)).transpose()?;
    let residual = finish.residual.map(|residual| contiguous_f32(NAME, residual)).transpose()?;
    let guards = (Elements::of(&x), bias.as_ref().map(Elements::of), residual.as_ref().map(Elements::of));
    let epilogue = Epilogue {
        bias: guards.1.as_ref().map(Elements::get).transpose()?,
        activation: finish.activation,
        residual: guards.2.as_ref().map(Elements::get).transpose()?,
    };
    let output = product::multiply(guards.0.get()?, matrix, epilogue);
    Ok(Tensor::from_vec(output, dims, &Device::Cpu)?)
}

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
    fn groups(&self) -> usize {
        self.inputs.div_ceil(GROUP)
    }

    /// The weights of some panels, `[panels, groups, 64, 4]`.
    fn panels(&self, panels: Range<usize>) -> &[i8] {
        let length = self.groups() * PANEL * GROUP;
        &bytemuck::cast_slice(&self.packed.quants)[panels.start * length..panels.end * length]
    }

    /// Scales and sums of a panel's outputs.
    fn scales_and_sums(&self, panel: usize) -> (&[f32], &[i32]) {
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
