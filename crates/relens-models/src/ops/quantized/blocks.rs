//! Blocks of 32 elements: their formats, rounding and widening.

use super::super::instruction_set::vectorized;

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
