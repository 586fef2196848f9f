//! What modules are built from: frozen tensors, or variables that training moves.

use std::fmt::Display;
use std::sync::Arc;

use candle_core::Tensor;

use crate::error::Result;
use crate::lora::{LoraAdapter, LowRankMap};
use crate::ops::{Int8Matrix, QuantizedFormat, QuantizedMatrix};
use crate::weights::{StoredLayout, StoredTensor, TrainableParameters, Weights};

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
        self.trainable.as_ref().is_some_and(|trainable| trainable.selects(&self.full_name(name)))
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
        // Turned round once at loading: every later product reads its columns side by side.
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
        match self.trainable.as_ref().filter(|trainable| trainable.selects(name)) {
            None => load(),
            Some(trainable) => trainable.variable(name, layout, load),
        }
    }
}
