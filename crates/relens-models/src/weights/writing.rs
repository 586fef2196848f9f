//! Writing safetensors so that a kill at any moment leaves the old file or the new one.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Tensor;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::stored::ElementType;
use crate::error::{ModelError, Result};

/// Serialises tensors in the given element type, sorted by name, so that equal tensors give equal bytes.
///
/// # Errors
/// A tensor holds a value that the element type cannot: it would become infinite.
pub fn tensors_to_bytes(tensors: &BTreeMap<String, Tensor>, element: ElementType) -> Result<Vec<u8>> {
    let mut encoded = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let values = tensor.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
        encoded.push((name.as_str(), tensor.dims().to_vec(), encode(name, &values, element)?));
    }
    let dtype = match element {
        ElementType::F32 => Dtype::F32,
        ElementType::F16 => Dtype::F16,
        ElementType::Bf16 => Dtype::BF16,
    };
    let failed = |error: safetensors::SafeTensorError| ModelError::Safetensors {
        path: "<memory>".into(),
        reason: error.to_string(),
    };
    let mut views = Vec::with_capacity(encoded.len());
    for (name, shape, bytes) in &encoded {
        views.push((*name, TensorView::new(dtype, shape.clone(), bytes).map_err(failed)?));
    }
    // PyTorch loaders look for this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).map_err(failed)
}

/// Writes tensors to `path` through a temporary file in the same directory, synced before it takes the name.
///
/// # Errors
/// As [`tensors_to_bytes`]; the file cannot be written (a full disk leaves the old file as it was).
pub fn save_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>, element: ElementType) -> Result<()> {
    write_atomically(path, &tensors_to_bytes(tensors, element)?)
}

/// Writes a file under another name beside `path`, syncs it, and gives it the name.
///
/// # Errors
/// The file cannot be written; the old one stays as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    // A name of its own for each writer: two that write the same file at once must not take the other's away.
    static WRITERS: AtomicU64 = AtomicU64::new(0);
    let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}-{writer}.partial", std::process::id()));
    let written = fs_err::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs_err::rename(&temporary, path)) {
        // The error that matters is the first one; a partial file that cannot be removed is harmless.
        let _ = fs_err::remove_file(&temporary);
        return Err(error.into());
    }
    Ok(())
}

fn encode(name: &str, values: &[f32], element: ElementType) -> Result<Vec<u8>> {
    let overflow = |position: usize| ModelError::NonFiniteTensor {
        path: "<memory>".into(),
        name: name.to_owned(),
        position,
        found: values[position],
    };
    if let Some(position) = values.iter().position(|value| !value.is_finite()) {
        return Err(overflow(position));
    }
    Ok(match element {
        ElementType::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ElementType::F16 => {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            if let Some(position) = halves.iter().position(|half| !half.is_finite()) {
                return Err(overflow(position));
            }
            halves.iter().flat_map(|half| half.to_le_bytes()).collect()
        }
        ElementType::Bf16 => values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect(),
    })
}
