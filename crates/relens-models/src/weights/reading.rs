//! Memory-mapped safetensors, refused when they are not what the architecture expects.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};

use crate::error::{ModelError, Result};

/// Converting is split over threads in pieces of this many elements.
const CONVERSION_CHUNK: usize = 1 << 18;

/// The tensors of one or several safetensors files, by name. Cloning shares the mapping.
///
/// Nothing is converted until it is asked for, so opening costs only the header, whatever the file's size.
#[derive(Clone, Debug)]
pub struct Weights {
    entries: Arc<BTreeMap<String, StoredTensor>>,
    /// Names the whole in messages about tensors that are not there.
    path: PathBuf,
}

/// Where the bytes of a file live.
#[derive(Debug)]
enum Buffer {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Buffer {
    fn bytes(&self) -> &[u8] {
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

/// One tensor as it stands in its file, not yet converted.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    buffer: Arc<Buffer>,
    path: Arc<PathBuf>,
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

impl Weights {
    /// Maps one safetensors file.
    ///
    /// # Errors
    /// The file cannot be read, or its header is not valid: truncated, overlapping or out-of-range tensors.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = fs_err::File::open(path)?;
        // SAFETY: the mapping is read-only and private. A file that another process truncates meanwhile would
        // raise SIGBUS; relens never writes in place (new weights arrive by rename), which leaves this mapping whole.
        let map = unsafe { Mmap::map(file.file()) }
            .map_err(|source| std::io::Error::new(source.kind(), format!("{}: {source}", path.display())))?;
        Self::from_buffer(path.to_owned(), Buffer::Mapped(map))
    }

    /// Reads safetensors from memory; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`Weights::open`].
    pub fn from_bytes(path: impl Into<PathBuf>, bytes: Vec<u8>) -> Result<Self> {
        Self::from_buffer(path.into(), Buffer::Owned(bytes))
    }

    /// The tensors of all parts under their names; a later part may not repeat a name of an earlier one.
    ///
    /// # Errors
    /// Two parts hold a tensor of the same name.
    pub fn merge(parts: impl IntoIterator<Item = Weights>) -> Result<Self> {
        let mut merged = BTreeMap::new();
        let mut path = PathBuf::new();
        for part in parts {
            if path.as_os_str().is_empty() {
                path.clone_from(&part.path);
            }
            for (name, stored) in part.entries.iter() {
                if merged.insert(name.clone(), stored.clone()).is_some() {
                    let reason = format!("tensor `{name}` is also in another file of the same model");
                    return Err(ModelError::Safetensors { path: part.path.clone(), reason });
                }
            }
        }
        Ok(Self { entries: Arc::new(merged), path })
    }

    /// The same tensors, each name with `prefix` in front: how a tower's own file joins a larger model.
    #[must_use]
    pub fn with_prefix(&self, prefix: &str) -> Self {
        let rename = |(name, stored): (&String, &StoredTensor)| (format!("{prefix}{name}"), stored.clone());
        Self { entries: Arc::new(self.entries.iter().map(rename).collect()), path: self.path.clone() }
    }

    fn from_buffer(path: PathBuf, buffer: Buffer) -> Result<Self> {
        let refuse = |reason: String| ModelError::Safetensors { path: path.clone(), reason };
        let length = buffer.bytes().len();
        let (header, metadata) = SafeTensors::read_metadata(buffer.bytes())
            .map_err(|error| refuse(format!("{error} (the file has {length} bytes; is it truncated?)")))?;
        let start = header + size_of::<u64>();
        let buffer = Arc::new(buffer);
        let shared_path = Arc::new(path.clone());
        let mut entries = BTreeMap::new();
        for (name, info) in metadata.tensors() {
            let range = start + info.data_offsets.0..start + info.data_offsets.1;
            if range.start > range.end || range.end > length {
                return Err(refuse(format!("tensor `{name}` lies outside the file")));
            }
            let stored = StoredTensor {
                buffer: buffer.clone(),
                path: shared_path.clone(),
                name: name.clone(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                range,
            };
            entries.insert(name, stored);
        }
        Ok(Self { entries: Arc::new(entries), path })
    }

    /// The file, or the first of several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensor names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The shape of a tensor, if there is one of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|stored| stored.shape.as_slice())
    }

    /// The total number of elements.
    pub fn element_count(&self) -> usize {
        self.entries.values().map(|stored| stored.shape.iter().product::<usize>()).sum()
    }

    /// A tensor as it is stored, after its shape and element type were checked.
    ///
    /// # Errors
    /// It is missing, of another shape, or not of a floating-point type.
    pub fn stored(&self, name: &str, shape: &[usize]) -> Result<&StoredTensor> {
        let Some(stored) = self.entries.get(name) else {
            let (path, name) = (self.path.clone(), name.to_owned());
            return Err(ModelError::MissingTensor { path, name, expected: shape.to_vec() });
        };
        if stored.shape != shape {
            return Err(ModelError::TensorShape {
                path: stored.path.to_path_buf(),
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: stored.shape.clone(),
            });
        }
        stored.element_type()?;
        Ok(stored)
    }

    /// A tensor converted to f32 on the CPU.
    ///
    /// # Errors
    /// As [`Weights::stored`]; also NaN or infinite elements.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let values = self.stored(name, shape)?.to_f32()?;
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}

impl StoredTensor {
    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The stored element type.
    ///
    /// # Errors
    /// The tensor is not of a floating-point type that relens reads.
    pub fn element_type(&self) -> Result<ElementType> {
        ElementType::of(self.dtype).ok_or_else(|| ModelError::TensorType {
            path: self.path.to_path_buf(),
            name: self.name.clone(),
            found: format!("{:?}", self.dtype),
        })
    }

    /// All elements as f32, row-major.
    ///
    /// # Errors
    /// An unreadable element type; NaN or infinite elements.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let element = self.element_type()?;
        let bytes = self.bytes();
        let mut values = vec![0f32; bytes.len() / element.size()];
        let chunk_bytes = CONVERSION_CHUNK * element.size();
        let bad = values
            .par_chunks_mut(CONVERSION_CHUNK)
            .zip(bytes.par_chunks(chunk_bytes))
            .enumerate()
            .find_map_first(|(chunk, (values, bytes))| {
                convert(element, bytes, values);
                let within = values.iter().position(|value| !value.is_finite())?;
                Some((chunk * CONVERSION_CHUNK + within, values[within]))
            });
        match bad {
            None => Ok(values),
            Some((position, found)) => Err(ModelError::NonFiniteTensor {
                path: self.path.to_path_buf(),
                name: self.name.clone(),
                position,
                found,
            }),
        }
    }

    /// Converts one row of a `[rows, width]` tensor into `out`, without touching the rest of the table.
    ///
    /// # Errors
    /// The row is out of range, `out` is not of the row's length, or the row is not finite.
    pub fn read_row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        let element = self.element_type()?;
        let width = self.shape.last().copied().unwrap_or(0);
        let row_bytes = width * element.size();
        let bytes = row
            .checked_mul(row_bytes)
            .and_then(|start| self.bytes().get(start..start.checked_add(row_bytes)?))
            .filter(|_| out.len() == width)
            .ok_or_else(|| ModelError::Argument {
                operation: "read_row",
                expected: format!("a row of `{}` with shape {:?}", self.name, self.shape),
                found: format!("row {row} into {} elements", out.len()),
            })?;
        convert(element, bytes, out);
        match out.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(within) => Err(ModelError::NonFiniteTensor {
                path: self.path.to_path_buf(),
                name: self.name.clone(),
                position: row * width + within,
                found: out[within],
            }),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer.bytes()[self.range.clone()]
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
