//! Writing safetensors so that a kill at any moment leaves the old file or the new one.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::Tensor;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::stored::ElementType;
use crate::atomic_file::write_atomically;
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
    Ok(write_atomically(path, &tensors_to_bytes(tensors, element)?)?)
}

fn encode(name: &str, values: &[f32], element: ElementType) -> Result<Vec<u8>> {
    let overflow = |position: usize| ModelError::NonFiniteTensor {
        path: "<memory>".into(),
        name: name.to_owned(),
        position,
        found: values[position],
    };
    // Refused while the old file still stands: a run that diverged must not replace good weights.
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
