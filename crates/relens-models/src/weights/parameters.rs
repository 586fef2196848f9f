//! What modules are built from: frozen tensors, or variables that training moves.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Tensor, Var};

use super::reading::Weights;
use super::stored::StoredTensor;
use crate::error::Result;
use crate::layers::LowRankMap;
use crate::lora::LoraAdapter;
use crate::ops::{Int8Matrix, QuantizedFormat, QuantizedMatrix};

/// A place inside [`Weights`], from which a module takes its tensors by their local names.
///
/// Linear weights are handed out as `[in_features, out_features]`, the transpose of what checkpoints store: at the
/// few dozen rows of a query, a product with that layout runs two to three times as fast.
#[derive(Clone, Debug)]
pub struct Parameters {
    weights: Weights,
    prefix: String,
    trainable: Option<Arc<TrainableParameters>>,
    adapter: Option<Arc<LoraAdapter>>,
    storage: LinearStorage,
}

/// In which form the weights of frozen linear maps are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinearStorage {
    /// What is quantised in the file stays so, all else is f32.
    #[default]
    AsStored,
    /// f32, whatever the file has.
    Float,
    /// Rounded to few bits, where the number of inputs allows; for inference.
    Quantized(QuantizedFormat),
    /// Rounded to eight bits, as are the activations on their way into the product; for inference.
    Int8,
}

/// The weight of a linear map.
#[derive(Clone, Debug)]
pub enum LinearWeight {
    /// `[in_features, out_features]`
    Dense(Tensor),
    /// Frozen, in blocks of few bits.
    Quantized(QuantizedMatrix),
    /// Frozen, in eight bits with a scale for each output; activations are rounded, too.
    Int8(Int8Matrix),
}

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

impl Parameters {
    /// Hands out tensors that no gradient reaches.
    pub fn frozen(weights: Weights) -> Self {
        Self::new(weights, None)
    }

    fn new(weights: Weights, trainable: Option<Arc<TrainableParameters>>) -> Self {
        let storage = LinearStorage::default();
        Self { weights, prefix: String::new(), trainable, adapter: None, storage }
    }

    /// Hands out variables for the names that `selects` picks, frozen tensors for the others.
    pub fn trainable(
        weights: Weights,
        selects: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> (Self, Arc<TrainableParameters>) {
        let trainable = Arc::new(TrainableParameters::selecting(selects));
        (Self::new(weights, Some(trainable.clone())), trainable)
    }

    /// Lets an adapter change the linear maps that it targets.
    #[must_use]
    pub fn with_adapter(self, adapter: Arc<LoraAdapter>) -> Self {
        Self { adapter: Some(adapter), ..self }
    }

    /// The same place, out of an adapter's reach.
    #[must_use]
    pub fn without_adapter(&self) -> Self {
        Self { adapter: None, ..self.clone() }
    }

    /// The adapter that changes linear maps, if there is one.
    pub fn adapter(&self) -> Option<&Arc<LoraAdapter>> {
        self.adapter.as_ref()
    }

    /// Keeps the weights of frozen linear maps in another form.
    #[must_use]
    pub fn with_storage(self, storage: LinearStorage) -> Self {
        Self { storage, ..self }
    }

    /// The place one level down, as in `parameters.pp("encoder").pp(3)`.
    #[must_use]
    pub fn pp(&self, name: impl Display) -> Self {
        Self { prefix: self.full_name(&name.to_string()), ..self.clone() }
    }

    /// The checkpoint's name of a local name.
    pub fn full_name(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    /// Whether the checkpoint has a tensor of this local name.
    pub fn contains(&self, name: &str) -> bool {
        self.weights.contains(&self.full_name(name))
    }

    /// The shape of a local name in the checkpoint, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.shape(&self.full_name(name))
    }

    /// Whether this local name is handed out as a variable.
    pub fn is_trainable(&self, name: &str) -> bool {
        self.trainable.as_ref().is_some_and(|trainable| (trainable.selects)(&self.full_name(name)))
    }

    /// Whether any name may be handed out as a variable, an adapter's included.
    pub fn hands_out_variables(&self) -> bool {
        self.trainable.is_some() || self.adapter.is_some()
    }

    /// The content behind this place.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// A tensor as stored: `shape` is both expected and returned.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let name = self.full_name(name);
        let load = || self.weights.tensor(&name, shape);
        self.hand_out(&name, StoredLayout::AsStored, load)
    }

    /// The weight of a linear layer, `[in_features, out_features]` (stored as `[out_features, in_features]`).
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn linear_weight(&self, name: &str, in_features: usize, out_features: usize) -> Result<Tensor> {
        let name = self.full_name(name);
        let load = || Ok(self.weights.tensor(&name, &[out_features, in_features])?.t()?.contiguous()?);
        self.hand_out(&name, StoredLayout::Transposed, load)
    }

    /// The weight of a linear layer (stored as `[out_features, in_features]`) in the form that
    /// [`Parameters::with_storage`] asks for; what is trained is always dense.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn linear_map(&self, name: &str, in_features: usize, out_features: usize) -> Result<LinearWeight> {
        let dense = || Ok(LinearWeight::Dense(self.linear_weight(name, in_features, out_features)?));
        if self.is_trainable(name) {
            return dense();
        }
        if self.storage == LinearStorage::Int8 {
            if !Int8Matrix::fits(in_features) {
                return dense();
            }
            let stored = self.weights.stored(&self.full_name(name), &[out_features, in_features])?;
            let matrix = Int8Matrix::quantize(&stored.to_f32()?, out_features, in_features)?;
            return Ok(LinearWeight::Int8(matrix));
        }
        if !QuantizedMatrix::fits(in_features) {
            return dense();
        }
        let stored = self.weights.stored(&self.full_name(name), &[out_features, in_features])?;
        let format = match self.storage {
            LinearStorage::Float | LinearStorage::Int8 => return dense(),
            LinearStorage::AsStored if !stored.is_quantized() => return dense(),
            LinearStorage::AsStored => None,
            LinearStorage::Quantized(format) => Some(format),
        };
        if let Some(matrix) = stored.quantized_matrix()?
            && format.is_none_or(|format| format == matrix.format())
        {
            return Ok(LinearWeight::Quantized(matrix));
        }
        // Blocks of a kind without a kernel are rounded once more, to eight bits, which loses next to nothing.
        let format = format.unwrap_or(QuantizedFormat::Q8);
        let values = stored.to_f32()?;
        Ok(LinearWeight::Quantized(QuantizedMatrix::quantize(&values, out_features, in_features, format)?))
    }

    /// What an adapter adds to the linear map at this place, if it targets it.
    ///
    /// # Errors
    /// When the adapter's own tensors are missing, of another shape, or not finite.
    pub fn low_rank_map(&self, in_features: usize, out_features: usize) -> Result<Option<LowRankMap>> {
        let Some(adapter) = &self.adapter else { return Ok(None) };
        adapter.attach(&self.prefix, in_features, out_features)
    }

    /// A frozen tensor as it lies in the file, for tables of which only a few rows are read.
    ///
    /// # Errors
    /// As [`Weights::stored`].
    pub fn stored(&self, name: &str, shape: &[usize]) -> Result<StoredTensor> {
        self.weights.stored(&self.full_name(name), shape).cloned()
    }

    fn hand_out(
        &self,
        name: &str,
        layout: StoredLayout,
        load: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Tensor> {
        match self.trainable.as_ref().filter(|trainable| (trainable.selects)(name)) {
            None => load(),
            Some(trainable) => trainable.variable(name, layout, load),
        }
    }
}

impl TrainableParameters {
    /// None yet; those of the names that `selects` picks will be variables.
    pub(crate) fn selecting(selects: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { selects: Box::new(selects), entries: Mutex::new(BTreeMap::new()) }
    }

    /// The variable of this name, made of what `load` gives when it is asked for the first time.
    pub(crate) fn variable(
        &self,
        name: &str,
        layout: StoredLayout,
        load: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut entries = self.lock();
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
