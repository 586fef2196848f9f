//! A matrix in blocks of few bits.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::super::arguments::refuse;
use super::super::parallel::for_row_blocks;
use super::blocks::{BLOCK, QuantizedBlocks, QuantizedFormat, decode_rows, quantize_block};
use crate::Result;

/// A linear map's weight in blocks of 32 along its inputs. Cloning shares it.
#[derive(Clone)]
pub struct QuantizedMatrix {
    inputs: usize,
    outputs: usize,
    format: QuantizedFormat,
    blocks: Arc<QuantizedBlocks>,
}

impl QuantizedMatrix {
    /// Whether a map of so many inputs can be quantised.
    pub fn fits(inputs: usize) -> bool {
        inputs > 0 && inputs.is_multiple_of(BLOCK)
    }

    /// Rounds a matrix, `[outputs, inputs]` as checkpoints store it.
    ///
    /// # Errors
    /// When there is another number of values, or the inputs are no multiple of 32.
    pub fn quantize(values: &[f32], outputs: usize, inputs: usize, format: QuantizedFormat) -> Result<Self> {
        check(inputs, values.len() == outputs * inputs, || format!("{} values", values.len()))?;
        let count = values.len() / BLOCK;
        let mut blocks = QuantizedBlocks {
            quants: Vec::with_capacity(count * format.block_bytes()),
            scales: Vec::with_capacity(count),
            minimums: Vec::new(),
        };
        for block in values.as_chunks::<BLOCK>().0 {
            quantize_block(block, format, &mut blocks);
        }
        Self::from_blocks(blocks, outputs, inputs, format)
    }

    /// Takes blocks as they are.
    pub(super) fn from_blocks(
        blocks: QuantizedBlocks,
        outputs: usize,
        inputs: usize,
        format: QuantizedFormat,
    ) -> Result<Self> {
        let count = outputs * (inputs / BLOCK);
        let minimums = if format == QuantizedFormat::Q4 { count } else { 0 };
        let whole = blocks.scales.len() == count
            && blocks.quants.len() == count * format.block_bytes()
            && blocks.minimums.len() == minimums;
        check(inputs, whole, || format!("{} blocks", blocks.scales.len()))?;
        Ok(Self { inputs, outputs, format, blocks: Arc::new(blocks) })
    }

    /// The outputs of several maps of the same inputs, side by side; none when their formats differ.
    pub fn concatenate(parts: &[&Self]) -> Option<Self> {
        let first = parts.first()?;
        if parts.iter().any(|part| part.inputs != first.inputs || part.format != first.format) {
            return None;
        }
        let mut blocks = QuantizedBlocks::default();
        for part in parts {
            blocks.quants.extend_from_slice(&part.blocks.quants);
            blocks.scales.extend_from_slice(&part.blocks.scales);
            blocks.minimums.extend_from_slice(&part.blocks.minimums);
        }
        let outputs = parts.iter().map(|part| part.outputs).sum();
        Some(Self { outputs, blocks: Arc::new(blocks), ..**first })
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many bits an element takes.
    pub fn format(&self) -> QuantizedFormat {
        self.format
    }

    /// The weight as a tensor.
    ///
    /// # Shapes
    /// - output: `[inputs, outputs]`
    ///
    /// # Errors
    /// The tensor library failed to copy.
    pub fn dequantize(&self) -> Result<Tensor> {
        let values = self.widened();
        let stored = Tensor::from_vec(values, (self.outputs, self.inputs), &Device::Cpu)?;
        Ok(stored.t()?.contiguous()?)
    }

    /// All elements, row after row.
    pub(super) fn widened(&self) -> Vec<f32> {
        let mut values = vec![0.0f32; self.outputs * self.inputs];
        for_row_blocks(&mut values, self.inputs, 2, |first, rows| {
            self.decode(first..first + rows.len() / self.inputs, rows);
        });
        values
    }

    /// The elements of some rows.
    pub(super) fn decode(&self, rows: Range<usize>, values: &mut [f32]) {
        let (quants, scales, minimums) = self.rows(rows);
        decode_rows(self.format, quants, scales, minimums, values);
    }

    /// The quants, scales and minimums of some rows.
    pub(super) fn rows(&self, rows: Range<usize>) -> (&[u8], &[f32], &[f32]) {
        let blocks = self.inputs / BLOCK;
        let range = rows.start * blocks..rows.end * blocks;
        let bytes = self.format.block_bytes();
        let minimums = match self.format {
            QuantizedFormat::Q8 => &[][..],
            QuantizedFormat::Q4 => &self.blocks.minimums[range.clone()],
        };
        let quants = &self.blocks.quants[range.start * bytes..range.end * bytes];
        (quants, &self.blocks.scales[range], minimums)
    }
}

fn check(inputs: usize, whole: bool, found: impl FnOnce() -> String) -> Result<()> {
    if QuantizedMatrix::fits(inputs) && whole {
        return Ok(());
    }
    let expected = format!("whole rows of {inputs} inputs, in blocks of {BLOCK}");
    Err(refuse("quantize", expected, found()))
}

impl std::fmt::Debug for QuantizedMatrix {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { inputs, outputs, format, .. } = self;
        write!(formatter, "QuantizedMatrix({format:?}, {inputs} inputs, {outputs} outputs)")
    }
}
