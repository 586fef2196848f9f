//! One tensor as it lies in its file, and how its bytes become numbers.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::Dtype;

use crate::error::{ModelError, Result};
use crate::ops::{GgmlLayout, QuantizedMatrix};
use crate::regular_file;

/// Converting is split over threads in pieces of this many elements.
const CONVERSION_CHUNK: usize = 1 << 18;

/// Where the bytes of a file live.
#[derive(Debug)]
pub(super) enum Buffer {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Buffer {
    /// Maps a file.
    pub(super) fn map(path: &Path) -> Result<Self> {
        let file = regular_file::open(path)?;
        // SAFETY: the mapping is read-only and private. A file that another process truncates meanwhile would
        // raise SIGBUS; relens never writes in place (new weights arrive by rename), which leaves this mapping whole.
        let map = unsafe { Mmap::map(file.file()) }
            .map_err(|source| std::io::Error::new(source.kind(), format!("{}: {source}", path.display())))?;
        Ok(Self::Mapped(map))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// The type in which a tensor's elements are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
}

impl ElementType {
    fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// How a tensor's bytes are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// One number after the other.
    Plain(ElementType),
    /// Blocks of GGML.
    Ggml(GgmlDType),
    /// A type of safetensors that is not floating point.
    Unreadable(Dtype),
}

impl Encoding {
    /// That of a safetensors file's element type.
    pub(super) fn of(dtype: Dtype) -> Self {
        ElementType::of(dtype).map_or(Self::Unreadable(dtype), Self::Plain)
    }
}

/// One tensor as it stands in its file, not yet converted.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    pub(super) buffer: Arc<Buffer>,
    pub(super) path: Arc<PathBuf>,
    pub(super) name: String,
    pub(super) encoding: Encoding,
    pub(super) shape: Vec<usize>,
    pub(super) range: Range<usize>,
    /// Heads whose rows the file has in the order of interleaved rotation; they are put back when they are read.
    pub(super) interleaved_heads: Option<NonZeroU32>,
}

impl StoredTensor {
    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn check_readable(&self) -> Result<()> {
        match self.encoding {
            Encoding::Plain(_) | Encoding::Ggml(_) => Ok(()),
            Encoding::Unreadable(dtype) => Err(ModelError::TensorType {
                path: self.path.to_path_buf(),
                name: self.name.clone(),
                found: format!("{dtype:?}"),
            }),
        }
    }

    /// Whether the elements take less than sixteen bits.
    pub fn is_quantized(&self) -> bool {
        matches!(self.encoding, Encoding::Ggml(_))
    }

    /// All elements as f32, row-major.
    ///
    /// # Errors
    /// An unreadable element type; NaN or infinite elements.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        self.check_readable()?;
        let bytes = self.bytes();
        let Encoding::Plain(element) = self.encoding else {
            let values = self.dequantize(&bytes, &self.shape)?;
            return self.refuse_non_finite(&values, 0).map(|()| values);
        };
        let mut values = vec![0f32; bytes.len() / element.size()];
        let chunk_bytes = CONVERSION_CHUNK * element.size();
        let bad = values
            .par_chunks_mut(CONVERSION_CHUNK)
            .zip(bytes.par_chunks(chunk_bytes))
            .enumerate()
            // The first in the file's order, so that threads do not change which element is named.
            .find_map_first(|(chunk, (values, bytes))| {
                convert(element, bytes, values);
                self.refuse_non_finite(values, chunk * CONVERSION_CHUNK).err()
            });
        bad.map_or(Ok(values), Err)
    }

    /// Converts one row of a `[rows, width]` tensor into `out`, without touching the rest of the table.
    ///
    /// # Errors
    /// The row is out of range, `out` is not of the row's length, or the row is not finite.
    pub fn read_row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        self.check_readable()?;
        let width = self.shape.last().copied().unwrap_or(0);
        let row_bytes = self.row_bytes();
        let whole = self.bytes();
        let bytes = row
            .checked_mul(row_bytes)
            .and_then(|start| whole.get(start..start.checked_add(row_bytes)?))
            .filter(|_| out.len() == width)
            .ok_or_else(|| ModelError::Argument {
                operation: "read_row",
                expected: format!("a row of `{}` with shape {:?}", self.name, self.shape),
                found: format!("row {row} into {} elements", out.len()),
            })?;
        match self.encoding {
            Encoding::Plain(element) => convert(element, bytes, out),
            _ => out.copy_from_slice(&self.dequantize(bytes, &[width])?),
        }
        self.refuse_non_finite(out, row * width)
    }

    /// A `[outputs, inputs]` tensor as the matrix of a product; none if its blocks are of a kind that a product
    /// cannot take as it is.
    ///
    /// # Errors
    /// A scale in the file is not finite.
    pub(crate) fn quantized_matrix(&self) -> Result<Option<QuantizedMatrix>> {
        let layout = match self.encoding {
            Encoding::Ggml(GgmlDType::Q8_0) => GgmlLayout::Q8_0,
            Encoding::Ggml(GgmlDType::Q4_0) => GgmlLayout::Q4_0,
            Encoding::Ggml(GgmlDType::Q4_1) => GgmlLayout::Q4_1,
            Encoding::Ggml(GgmlDType::Q4K) => GgmlLayout::Q4K,
            _ => return Ok(None),
        };
        let &[outputs, inputs] = self.shape.as_slice() else { return Ok(None) };
        let matrix = QuantizedMatrix::from_ggml(&self.bytes(), layout, outputs, inputs);
        matrix.map(Some).map_err(|error| ModelError::Gguf {
            path: self.path.to_path_buf(),
            reason: format!("tensor `{}`: {error}", self.name),
        })
    }

    fn dequantize(&self, bytes: &[u8], shape: &[usize]) -> Result<Vec<f32>> {
        let Encoding::Ggml(dtype) = self.encoding else { return Ok(Vec::new()) };
        let tensor = qtensor_from_ggml(dtype, bytes, shape.to_vec(), &Device::Cpu)?;
        Ok(tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?)
    }

    fn refuse_non_finite(&self, values: &[f32], first: usize) -> Result<()> {
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(within) => Err(ModelError::NonFiniteTensor {
                path: self.path.to_path_buf(),
                name: self.name.clone(),
                position: first + within,
                found: values[within],
            }),
        }
    }

    /// Bytes of one row of the last dimension.
    fn row_bytes(&self) -> usize {
        let width = self.shape.last().copied().unwrap_or(0);
        match self.encoding {
            Encoding::Plain(element) => width * element.size(),
            Encoding::Ggml(dtype) => width / dtype.block_size() * dtype.type_size(),
            Encoding::Unreadable(_) => 0,
        }
    }

    /// The bytes with their rows in the order of the checkpoint.
    fn bytes(&self) -> Cow<'_, [u8]> {
        let bytes = &self.buffer.bytes()[self.range.clone()];
        let Some(heads) = self.interleaved_heads else { return Cow::Borrowed(bytes) };
        let heads = heads.get() as usize;
        let (rows, row_bytes) = (self.shape.first().copied().unwrap_or(0), self.row_bytes());
        let head_dim = rows.checked_div(heads).unwrap_or(0);
        if row_bytes == 0 || !head_dim.is_multiple_of(2) || heads * head_dim != rows {
            return Cow::Borrowed(bytes);
        }
        let half = head_dim / 2;
        let from = |row: usize| {
            let (head, within) = (row / head_dim, row % head_dim);
            // Pairs (2i, 2i + 1) of llama.cpp become (i, i + half) of Hugging Face.
            head * head_dim + 2 * (within % half) + within / half
        };
        let ordered = (0..rows).flat_map(|row| &bytes[from(row) * row_bytes..][..row_bytes]);
        Cow::Owned(ordered.copied().collect())
    }
}

/// Widens little-endian elements to f32. `values` and `bytes` hold the same number of elements.
fn convert(element: ElementType, bytes: &[u8], values: &mut [f32]) {
    match element {
        ElementType::F32 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        // The fast conversion needs aligned halves, which a tensor in a mapped file need not be.
        ElementType::F16 => match bytemuck::try_cast_slice::<u8, f16>(bytes) {
            Ok(halves) if cfg!(target_endian = "little") => halves.convert_to_f32_slice(values),
            _ => {
                for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = f16::from_le_bytes(*bytes).to_f32();
                }
            }
        },
        ElementType::Bf16 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = bf16::from_le_bytes(*bytes).to_f32();
            }
        }
    }
}
