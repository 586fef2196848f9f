//! The tensors of a GGUF file.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use candle_core::quantized::GgmlDType;

use super::reading::Weights;
use super::stored::{Buffer, ElementType, Encoding, StoredTensor};
use crate::error::{ModelError, Result};

/// A file in memory.
#[derive(Debug)]
pub(crate) struct MappedFile(Arc<Buffer>);

/// Where a tensor lies in its file.
#[derive(Debug)]
pub(crate) struct GgufTensor {
    pub(crate) name: String,
    pub(crate) dtype: GgmlDType,
    pub(crate) shape: Vec<usize>,
    pub(crate) start: usize,
    /// Heads whose rows are in the order of interleaved rotation.
    pub(crate) interleaved_heads: Option<NonZeroU32>,
}

impl MappedFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self(Arc::new(Buffer::map(path)?)))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Weights {
    /// The tensors of a mapped GGUF file.
    ///
    /// # Errors
    /// A tensor lies outside the file, or its rows are not whole blocks.
    pub(crate) fn from_gguf(path: &Path, file: &MappedFile, tensors: Vec<GgufTensor>) -> Result<Self> {
        let shared_path = Arc::new(path.to_owned());
        let stored = tensors.into_iter().map(|tensor| {
            let refuse = |reason| ModelError::Gguf {
                path: path.to_owned(),
                reason: format!("tensor `{}` {reason}", tensor.name),
            };
            let width = tensor.shape.last().copied().unwrap_or(1);
            let (block, size) = (tensor.dtype.block_size(), tensor.dtype.type_size());
            if width == 0 || !width.is_multiple_of(block) {
                return Err(refuse(format!("has rows of {width}, expected a multiple of {block}")));
            }
            let elements = tensor.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
            let end = elements
                .and_then(|elements| (elements / block).checked_mul(size))
                .and_then(|bytes| tensor.start.checked_add(bytes));
            let length = file.bytes().len();
            let Some(end) = end.filter(|end| *end <= length) else {
                let end = end.map_or("beyond all files".into(), |end| format!("at byte {end}"));
                return Err(refuse(format!("ends {end}, but the file has {length} bytes: it is truncated")));
            };
            Ok(StoredTensor {
                buffer: file.0.clone(),
                path: shared_path.clone(),
                encoding: match tensor.dtype {
                    GgmlDType::F32 => Encoding::Plain(ElementType::F32),
                    GgmlDType::F16 => Encoding::Plain(ElementType::F16),
                    GgmlDType::BF16 => Encoding::Plain(ElementType::Bf16),
                    blocks => Encoding::Ggml(blocks),
                },
                range: tensor.start..end,
                shape: tensor.shape,
                name: tensor.name,
                interleaved_heads: tensor.interleaved_heads,
            })
        });
        Ok(Self::from_stored(path.to_owned(), stored.collect::<Result<Vec<_>>>()?))
    }
}
