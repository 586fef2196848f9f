//! Memory-mapped tensors, refused when they are not what the architecture expects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;

use super::stored::{Buffer, Encoding, StoredTensor};
use crate::error::{ModelError, Result};

/// Tensors' names and shapes.
pub(crate) type TensorShapes = BTreeMap<String, Vec<usize>>;

/// The tensors of one or several safetensors files, or of a GGUF file, by name. Cloning shares the mapping.
///
/// Nothing is converted until it is asked for, so opening costs only the header, whatever the file's size.
#[derive(Clone, Debug)]
pub struct Weights {
    entries: Arc<BTreeMap<String, StoredTensor>>,
    /// Names the whole in messages about tensors that are not there.
    path: PathBuf,
}

impl Weights {
    /// Maps one safetensors file.
    ///
    /// # Errors
    /// The file cannot be read, or its header is not valid: truncated, overlapping or out-of-range tensors.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_buffer(path.to_owned(), Buffer::map(path)?)
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

    /// The same tensors, those in `changes` instead of the ones of their names.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`] for a change of a tensor that is not there, [`ModelError::TensorShape`] for one of
    /// another shape.
    pub fn overlaid(&self, changes: &Self) -> Result<Self> {
        let mut entries = self.entries.as_ref().clone();
        for (name, stored) in changes.entries.iter() {
            // A change must replace something: one under a wrong name would silently do nothing.
            self.stored(name, &stored.shape)?;
            entries.insert(name.clone(), stored.clone());
        }
        Ok(Self { entries: Arc::new(entries), path: changes.path.clone() })
    }

    /// The same tensors, each name with `prefix` in front: how a tower's own file joins a larger model.
    #[must_use]
    pub fn with_prefix(&self, prefix: &str) -> Self {
        let rename = |(name, stored): (&String, &StoredTensor)| (format!("{prefix}{name}"), stored.clone());
        Self { entries: Arc::new(self.entries.iter().map(rename).collect()), path: self.path.clone() }
    }

    /// Collects tensors under their names.
    pub(super) fn from_stored(path: PathBuf, tensors: impl IntoIterator<Item = StoredTensor>) -> Self {
        let entries = tensors.into_iter().map(|stored| (stored.name.clone(), stored)).collect();
        Self { entries: Arc::new(entries), path }
    }

    /// Tensors in memory: names, element types, shapes and little-endian bytes.
    pub(super) fn from_tensors(
        path: PathBuf,
        tensors: Vec<(String, super::ElementType, Vec<usize>, Vec<u8>)>,
    ) -> Self {
        let shared_path = Arc::new(path.clone());
        let entries = tensors.into_iter().map(|(name, element, shape, bytes)| {
            let (path, range) = (shared_path.clone(), 0..bytes.len());
            let buffer = Arc::new(Buffer::Owned(bytes));
            (
                name.clone(),
                StoredTensor {
                    buffer,
                    path,
                    name,
                    encoding: Encoding::Plain(element),
                    shape,
                    range,
                    interleaved_heads: None,
                },
            )
        });
        Self { entries: Arc::new(entries.collect()), path }
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
                encoding: Encoding::of(info.dtype),
                shape: info.shape.clone(),
                range,
                interleaved_heads: None,
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

    /// The shapes of all tensors.
    pub(crate) fn shapes(&self) -> TensorShapes {
        self.entries.iter().map(|(name, stored)| (name.clone(), stored.shape.clone())).collect()
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
        stored.check_readable()?;
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
