//! The variables that training moves, by the names that checkpoints give them; and how
//! they are written, so that a kill at any moment leaves the old file or the new one.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{Tensor, Var};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::stored::ElementType;
use crate::atomic_file::write_atomically;
use crate::error::{ModelError, Result};

/// The variables that were handed out while modules were built, by full checkpoint name.
pub struct TrainableParameters {
    selects: Box<dyn Fn(&str) -> bool + Send + Sync>,
    entries: Mutex<BTreeMap<String, TrainableParameter>>,
}

/// One variable and how its checkpoint stores it.
#[derive(Clone, Debug)]
pub struct TrainableParameter {
    /// The variable; cloning shares it.
    pub var: Var,
    /// How the checkpoint stores it.
    pub layout: StoredLayout,
}

/// How a variable relates to the tensor in the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredLayout {
    /// The same shape.
    AsStored,
    /// A matrix whose checkpoint form is the transpose, `[out_features, in_features]`.
    Transposed,
}

impl TrainableParameters {
    /// None yet; those of the names that `selects` picks will be variables.
    pub(crate) fn selecting(selects: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { selects: Box::new(selects), entries: Mutex::new(BTreeMap::new()) }
    }

    /// Whether this name is handed out as a variable.
    pub(crate) fn selects(&self, name: &str) -> bool {
        (self.selects)(name)
    }

    /// The variable of this name, made of what `load` gives when it is asked for the first time.
    pub(crate) fn variable(
        &self,
        name: &str,
        layout: StoredLayout,
        load: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut entries = self.lock();
        // Asked for twice (a tied table), it is one variable with one gradient.
        if let Some(parameter) = entries.get(name) {
            return Ok(parameter.var.as_tensor().clone());
        }
        let var = Var::from_tensor(&load()?)?;
        let tensor = var.as_tensor().clone();
        entries.insert(name.to_owned(), TrainableParameter { var, layout });
        Ok(tensor)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, TrainableParameter>> {
        // A panic elsewhere cannot leave the map half-written: insertion is its only change.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All variables with their checkpoint names, sorted by name.
    pub fn entries(&self) -> Vec<(String, TrainableParameter)> {
        self.lock().iter().map(|(name, parameter)| (name.clone(), parameter.clone())).collect()
    }

    /// The total number of trainable elements.
    pub fn element_count(&self) -> usize {
        self.lock().values().map(|parameter| parameter.var.elem_count()).sum()
    }

    /// The present values in the checkpoint's layout, detached from the graph.
    ///
    /// # Errors
    /// The tensor library failed to copy.
    pub fn export(&self) -> Result<BTreeMap<String, Tensor>> {
        self.entries()
            .into_iter()
            .map(|(name, parameter)| Ok((name, parameter.layout.to_stored(parameter.var.as_tensor())?)))
            .collect()
    }
}

impl StoredLayout {
    /// The checkpoint's form of a variable's value, a copy.
    ///
    /// # Errors
    /// The tensor library failed to copy.
    pub fn to_stored(self, value: &Tensor) -> Result<Tensor> {
        let detached = value.detach();
        Ok(match self {
            Self::AsStored => detached.copy()?,
            Self::Transposed => detached.t()?.contiguous()?,
        })
    }

    /// The variable's form of a checkpoint's tensor.
    ///
    /// # Errors
    /// The tensor library failed to copy.
    pub fn from_stored(self, value: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::AsStored => value.copy()?,
            Self::Transposed => value.t()?.contiguous()?,
        })
    }
}

impl Debug for TrainableParameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TrainableParameters").field("entries", &*self.lock()).finish_non_exhaustive()
    }
}

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
