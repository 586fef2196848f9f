//! Blocks of 32 elements: their formats, rounding and widening, and how those of GGML are read.

use half::f16;

use super::super::arguments::refuse;
use super::super::instruction_set::vectorized;
use super::QuantizedMatrix;
use crate::Result;

/// The block layouts of GGML that [`QuantizedMatrix`] holds without rounding anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GgmlLayout {
    /// A scale and 32 signed bytes.
    Q8_0,
    /// A scale and 32 half bytes from −8 on.
    Q4_0,
    /// A scale, a minimum and 32 half bytes.
    Q4_1,
    /// 256 half bytes in eight blocks, whose scales and minimums have six bits.
    Q4K,
}

impl GgmlLayout {
    fn bytes_and_elements(self) -> (usize, usize) {
        match self {
            Self::Q8_0 => (2 + BLOCK, BLOCK),
            Self::Q4_0 => (2 + HALF, BLOCK),
            Self::Q4_1 => (4 + HALF, BLOCK),
            Self::Q4K => (4 + 12 + 128, 256),
        }
    }
}

impl QuantizedMatrix {
    /// Takes the bytes of a GGML matrix of `[outputs, inputs]`.
    ///
    /// # Errors
    /// When there are not as many bytes as the sizes need, or a scale is not finite.
    pub(crate) fn from_ggml(bytes: &[u8], layout: GgmlLayout, outputs: usize, inputs: usize) -> Result<Self> {
        let (size, elements) = layout.bytes_and_elements();
        let needed = outputs.saturating_mul(inputs) / elements * size;
        if bytes.len() != needed || !inputs.is_multiple_of(elements) {
            let expected = format!("{needed} bytes in blocks of {elements} elements");
            return Err(refuse("quantized matrix", expected, format!("{} bytes", bytes.len())));
        }
        let mut blocks = QuantizedBlocks::default();
        for block in bytes.chunks_exact(size) {
            match layout {
                GgmlLayout::Q8_0 => {
                    blocks.scales.push(half_at(block, 0));
                    blocks.quants.extend_from_slice(&block[2..]);
                }
                GgmlLayout::Q4_0 => {
                    let scale = half_at(block, 0);
                    blocks.scales.push(scale);
                    // GGML's q − 8 as a minimum: the same kernel reads both layouts.
                    blocks.minimums.push(-8.0 * scale);
                    blocks.quants.extend_from_slice(&block[2..]);
                }
                GgmlLayout::Q4_1 => {
                    blocks.scales.push(half_at(block, 0));
                    blocks.minimums.push(half_at(block, 2));
                    blocks.quants.extend_from_slice(&block[4..]);
                }
                GgmlLayout::Q4K => read_q4_k(block, &mut blocks),
            }
        }
        let mut factors = blocks.scales.iter().chain(&blocks.minimums);
        if let Some(factor) = factors.find(|factor| !factor.is_finite()) {
            return Err(refuse("quantized matrix", "finite scales", factor.to_string()));
        }
        let format = if layout == GgmlLayout::Q8_0 { QuantizedFormat::Q8 } else { QuantizedFormat::Q4 };
        Self::from_blocks(blocks, outputs, inputs, format)
    }
}

fn half_at(block: &[u8], start: usize) -> f32 {
    f16::from_le_bytes([block[start], block[start + 1]]).to_f32()
}

/// The scale and the minimum of one of the eight blocks, six bits each, packed into twelve bytes.
fn scale_and_minimum(packed: &[u8], block: usize) -> (u8, u8) {
    if block < 4 {
        return (packed[block] & 63, packed[block + 4] & 63);
    }
    // The last four blocks have their low four bits here, and their high two in what is left of the first four's
    // bytes.
    let scale = (packed[block + 4] & 15) | ((packed[block - 4] >> 6) << 4);
    let minimum = (packed[block + 4] >> 4) | ((packed[block] >> 6) << 4);
    (scale, minimum)
}

fn read_q4_k(block: &[u8], blocks: &mut QuantizedBlocks) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    let (packed, quants) = (&block[4..16], &block[16..]);
    for i in 0..8 {
        let (scale_factor, minimum_factor) = scale_and_minimum(packed, i);
        // Scales of scales are multiplied out once here, so that the product sees plain blocks.
        blocks.scales.push(scale * f32::from(scale_factor));
        blocks.minimums.push(-minimum * f32::from(minimum_factor));
        // Two blocks share 32 bytes: one has the low halves, the other the high ones.
        let shared = &quants[i / 2 * BLOCK..(i / 2 + 1) * BLOCK];
        let element = |j: usize| if i % 2 == 0 { shared[j] & 15 } else { shared[j] >> 4 };
        blocks.quants.extend((0..HALF).map(|j| element(j) | element(j + HALF) << 4));
    }
}

/// Elements that share a scale.
pub(super) const BLOCK: usize = 32;
/// Bytes of a block of four-bit elements.
pub(super) const HALF: usize = BLOCK / 2;

/// How many bits an element takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuantizedFormat {
    /// Eight: scale · q, with −127 ≤ q ≤ 127.
    Q8,
    /// Four: scale · q + minimum, with 0 ≤ q ≤ 15.
    Q4,
}

impl QuantizedFormat {
    /// Bytes that the elements of a block take, scales aside.
    pub(super) fn block_bytes(self) -> usize {
        match self {
            Self::Q8 => BLOCK,
            Self::Q4 => BLOCK / 2,
        }
    }
}

/// Block after block, row after row; a row is one output.
#[derive(Default)]
pub(super) struct QuantizedBlocks {
    pub(super) quants: Vec<u8>,
    pub(super) scales: Vec<f32>,
    /// One for each block of [`QuantizedFormat::Q4`], none otherwise.
    pub(super) minimums: Vec<f32>,
}

/// Rounds a block to the nearest numbers that its format has.
pub(super) fn quantize_block(values: &[f32; BLOCK], format: QuantizedFormat, blocks: &mut QuantizedBlocks) {
    match format {
        QuantizedFormat::Q8 => {
            let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            let scale = largest / 127.0;
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            blocks.scales.push(scale);
            blocks.quants.extend(values.iter().map(|value| (value * inverse).round() as i8 as u8));
        }
        QuantizedFormat::Q4 => {
            let lowest = values.iter().copied().fold(f32::INFINITY, f32::min);
            let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            // Sixteen steps are too few to waste on a range that is symmetric around 0.
            let scale = (highest - lowest) / 15.0;
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            let quant = |value: f32| ((value - lowest) * inverse).round().clamp(0.0, 15.0) as u8;
            blocks.scales.push(scale);
            blocks.minimums.push(lowest);
            let pairs = values[..HALF].iter().zip(&values[HALF..]);
            // Element j shares a byte with j + 16, so that both halves of a block widen into registers without
            // shuffling.
            blocks.quants.extend(pairs.map(|(low, high)| quant(*low) | quant(*high) << 4));
        }
    }
}

/// Widens a block of eight-bit elements.
#[inline(always)]
pub(super) fn widen_q8(quants: &[u8; BLOCK], scale: f32) -> [f32; BLOCK] {
    let mut values = [0.0f32; BLOCK];
    for (value, quant) in values.iter_mut().zip(quants) {
        *value = f32::from(*quant as i8) * scale;
    }
    values
}

/// Widens a block of four-bit elements: the low halves of the bytes, then the high ones.
#[inline(always)]
pub(super) fn widen_q4(quants: &[u8; HALF], scale: f32, minimum: f32) -> [f32; BLOCK] {
    let mut values = [0.0f32; BLOCK];
    let (low, high) = values.split_at_mut(HALF);
    for ((low, high), quant) in low.iter_mut().zip(high).zip(quants) {
        *low = f32::from(quant & 15).mul_add(scale, minimum);
        *high = f32::from(quant >> 4).mul_add(scale, minimum);
    }
    values
}

vectorized! {
    pub(super) fn decode_rows(
        format: QuantizedFormat,
        quants: &[u8],
        scales: &[f32],
        minimums: &[f32],
        values: &mut [f32],
    ) {
        let blocks = values.as_chunks_mut::<BLOCK>().0.iter_mut().zip(scales);
        match format {
            QuantizedFormat::Q8 => {
                for ((values, scale), quants) in blocks.zip(quants.as_chunks::<BLOCK>().0) {
                    *values = widen_q8(quants, *scale);
                }
            }
            QuantizedFormat::Q4 => {
                let rest = quants.as_chunks::<HALF>().0.iter().zip(minimums);
                for ((values, scale), (quants, minimum)) in blocks.zip(rest) {
                    *values = widen_q4(quants, *scale, *minimum);
                }
            }
        }
    }
}
