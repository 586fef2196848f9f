//! PyTorch's own checkpoint files: a zip archive of a pickle and the tensors' bytes. No code in them is run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use candle_core::pickle::PthTensors;
use candle_core::{DType, Tensor};

use super::{ElementType, TensorShapes, Weights};
use crate::error::{ModelError, Result};
use crate::regular_file;

/// The entry under which training programs keep the weights beside the optimizer's state.
const STATE: &str = "state_dict";
/// What distributed training puts before every name.
const DISTRIBUTED_PREFIX: &str = "module.";

impl Weights {
    /// Reads a checkpoint that `torch.save` wrote: a dictionary of tensors, or one under `state_dict`.
    ///
    /// The tensors are copied into memory, each as it is stored.
    ///
    /// # Errors
    /// The file cannot be read, is not such an archive, or holds no tensors.
    pub fn open_pickle(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let tensors = guarded(path, read)?;
        Ok(Self::from_tensors(path.to_owned(), tensors))
    }

    /// The shapes of a checkpoint's tensors, without reading what is in them.
    ///
    /// # Errors
    /// As [`Weights::open_pickle`].
    pub(crate) fn shapes_of_pickle(path: &Path) -> Result<TensorShapes> {
        guarded(path, |path, _| {
            let archive = open(path)?;
            let shapes = archive.tensor_infos().iter();
            Ok(shapes.map(|(name, info)| (plain_name(name), info.layout.dims().to_vec())).collect())
        })
    }
}

/// Runs a reader, given the file and its length.
fn guarded<T>(path: &Path, read: impl FnOnce(&Path, u64) -> Result<T, String>) -> Result<T> {
    // The opened file names its path in errors; the reader opens it again.
    let length = regular_file::open(path)?.metadata()?.len();
    // The reader is other people's code on strangers' bytes: a panic in it is a malformed file.
    let read = catch_unwind(AssertUnwindSafe(|| read(path, length)));
    read.unwrap_or_else(|_| Err("the reader failed on malformed data".to_owned())).map_err(|reason| {
        let reason = format!("{reason} (the file has {length} bytes)");
        ModelError::Checkpoint { path: path.to_owned(), reason }
    })
}

/// The archive, at its dictionary of tensors.
fn open(path: &Path) -> Result<PthTensors, String> {
    let archive = PthTensors::new(path, None).map_err(|error| error.to_string())?;
    if archive.tensor_infos().is_empty() {
        return PthTensors::new(path, Some(STATE)).map_err(|error| error.to_string());
    }
    Ok(archive)
}

fn plain_name(name: &str) -> String {
    name.strip_prefix(DISTRIBUTED_PREFIX).unwrap_or(name).to_owned()
}

type StoredTensors = Vec<(String, ElementType, Vec<usize>, Vec<u8>)>;

fn read(path: &Path, length: u64) -> Result<StoredTensors, String> {
    let archive = open(path)?;
    let mut tensors = Vec::new();
    for (name, info) in archive.tensor_infos() {
        let elements =
            info.layout.dims().iter().try_fold(1u64, |product, &size| product.checked_mul(size as u64));
        let bytes = elements.and_then(|elements| elements.checked_mul(info.dtype.size_in_bytes() as u64));
        // PyTorch does not compress, so that a tensor cannot be larger than its file.
        if bytes.is_none_or(|bytes| bytes > length) {
            return Err(format!(
                "tensor `{name}` of shape {:?} does not fit into the file",
                info.layout.dims()
            ));
        }
        let Some(tensor) = archive.get(name).map_err(|error| format!("tensor `{name}`: {error}"))? else {
            continue;
        };
        // Counters and position numbers are not needed.
        let Some(dtype) = stored_type(tensor.dtype()) else { continue };
        let bytes = little_endian_bytes(&tensor).map_err(|error| format!("tensor `{name}`: {error}"))?;
        tensors.push((plain_name(name), dtype, tensor.dims().to_vec(), bytes));
    }
    if tensors.is_empty() {
        return Err(format!("expected a dictionary of tensors, or one under `{STATE}`, found none"));
    }
    Ok(tensors)
}

/// The element types that models are stored in; others, such as counters, are left out.
fn stored_type(dtype: DType) -> Option<ElementType> {
    match dtype {
        DType::F32 => Some(ElementType::F32),
        DType::F16 => Some(ElementType::F16),
        DType::BF16 => Some(ElementType::Bf16),
        _ => None,
    }
}

fn little_endian_bytes(tensor: &Tensor) -> candle_core::Result<Vec<u8>> {
    let tensor = tensor.flatten_all()?;
    Ok(match tensor.dtype() {
        DType::F16 => tensor.to_vec1::<half::f16>()?.iter().flat_map(|x| x.to_le_bytes()).collect(),
        DType::BF16 => tensor.to_vec1::<half::bf16>()?.iter().flat_map(|x| x.to_le_bytes()).collect(),
        _ => tensor.to_dtype(DType::F32)?.to_vec1::<f32>()?.iter().flat_map(|x| x.to_le_bytes()).collect(),
    })
}
