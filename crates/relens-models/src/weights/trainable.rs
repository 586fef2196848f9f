//! The variables that training moves, by the names that checkpoints give them.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{Tensor, Var};

use crate::error::Result;

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
