//! Products with matrices whose elements take eight or four bits.
//!
//! A decoder reads its whole weights for every token, so at one row a product is as fast as memory is. Weights are
//! kept in blocks of 32 with a scale each (the layouts of GGML's Q8_0 and Q4_1) and widened in registers; the
//! activations stay f32, so nothing but the weights is rounded. With many rows, tiles of the matrix are widened into
//! the cache and multiplied as any other matrix.

mod ggml;
mod product;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};

use self::ggml::{BLOCK, QuantizedBlocks, decode_rows, quantize_block};
use super::arguments::{Elements, contiguous_f32, elements, expect_dims, last_dim, refuse};
use super::parallel::for_row_blocks;
use crate::Result;

pub(crate) use self::ggml::GgmlLayout;
pub use self::ggml::QuantizedFormat;

struct QuantizedLinear {
    matrix: QuantizedMatrix,
}

impl CustomOp1 for QuantizedLinear {
    fn name(&self) -> &'static str {
        "quantized-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let output = product::multiply(elements(x, layout)?, &self.matrix);
        let mut dims = layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.matrix.outputs();
        }
        Ok((CpuStorage::F32(output), Shape::from(dims)))
    }

    fn bwd(&self, x: &Tensor, _res: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad_res = grad_res.contiguous()?;
        let upstream = Elements::of(&grad_res);
        let gradient = product::multiply_transposed(upstream.get()?, &self.matrix);
        Ok(Some(Tensor::from_vec(gradient, x.shape(), x.device())?))
    }
}

/// x·W + b with a quantised W; the gradient reaches `x` and `bias`.
///
/// # Shapes
/// - `x`: `[.., inputs]`
/// - `bias`: `[outputs]`
/// - output: `[.., outputs]`
///
/// # Errors
/// When the shapes do not fit, or a tensor is not f32.
pub fn quantized_linear(x: &Tensor, matrix: &QuantizedMatrix, bias: Option<&Tensor>) -> Result<Tensor> {
    const NAME: &str = "quantized_linear";
    if last_dim(NAME, x)? != matrix.inputs() {
        let expected = format!("x of shape [.., {}]", matrix.inputs());
        return Err(refuse(NAME, expected, format!("{:?}", x.dims())));
    }
    let output = contiguous_f32(NAME, x)?.apply_op1(QuantizedLinear { matrix: matrix.clone() })?;
    match bias {
        None => Ok(output),
        Some(bias) => {
            expect_dims(NAME, "bias", bias, &[matrix.outputs()])?;
            Ok(output.broadcast_add(bias)?)
        }
    }
}

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
    fn from_blocks(
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
    fn widened(&self) -> Vec<f32> {
        let mut values = vec![0.0f32; self.outputs * self.inputs];
        for_row_blocks(&mut values, self.inputs, 2, |first, rows| {
            self.decode(first..first + rows.len() / self.inputs, rows);
        });
        values
    }

    /// The elements of some rows.
    fn decode(&self, rows: Range<usize>, values: &mut [f32]) {
        let (quants, scales, minimums) = self.rows(rows);
        decode_rows(self.format, quants, scales, minimums, values);
    }

    /// The quants, scales and minimums of some rows.
    fn rows(&self, rows: Range<usize>) -> (&[u8], &[f32], &[f32]) {
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
