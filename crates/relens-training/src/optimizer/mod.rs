//! What happens between a gradient and the next weights: accumulation, clipping, AdamW, moving averages.
//!
//! candle's own AdamW keeps no state across restarts and walks its parameters one by one; this one updates in place
//! on all cores, saves its moments, and knows groups.

pub mod adamw;
pub mod average;
pub mod gradients;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::{Result, TrainingError};

pub use adamw::{AdamW, AdamWConfig};
pub use average::WeightAverage;
pub use gradients::{GradientAccumulator, check_and_clip, global_norm};

/// How one parameter is treated by the optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParameterOptions {
    /// Factor on the learning rate.
    pub learning_rate_scale: f64,
    /// Whether weight decay applies.
    pub decay: bool,
}

/// A trainable parameter: its name in the checkpoint, its value, and how it is updated.
#[derive(Debug, Clone)]
pub struct NamedParameter {
    /// The name in the checkpoint.
    pub name: String,
    /// The value.
    pub var: Var,
    /// How the optimizer treats it.
    pub options: ParameterOptions,
}

impl NamedParameter {
    /// A parameter with full learning rate; decayed if it is a matrix.
    ///
    /// Biases, norms and `logit_scale` have rank 0 or 1 and are not decayed, which is open_clip's rule
    /// (`open_clip_train/main.py`: `p.ndim < 2 or "bn" in n or "ln" in n or "bias" in n or "logit_scale" in n`).
    pub fn new(name: impl Into<String>, var: Var) -> Self {
        let decay = var.rank() >= 2;
        Self { name: name.into(), var, options: ParameterOptions { learning_rate_scale: 1.0, decay } }
    }

    /// The same with another factor on the learning rate.
    #[must_use]
    pub fn with_learning_rate_scale(mut self, scale: f64) -> Self {
        self.options.learning_rate_scale = scale;
        self
    }
}

/// Gradients in the order of the parameters they belong to.
#[derive(Debug, Clone)]
pub struct Gradients {
    tensors: Vec<Tensor>,
}

impl Gradients {
    /// Takes every parameter's gradient out of the result of `backward`.
    ///
    /// # Errors
    /// [`TrainingError::MissingGradient`] when a parameter has none: operations without a backward stop gradients
    /// silently, and a parameter that never learns must not go unnoticed.
    pub fn take(store: &mut GradStore, parameters: &[NamedParameter], step: u64) -> Result<Self> {
        let mut tensors = Vec::with_capacity(parameters.len());
        for parameter in parameters {
            let gradient = store
                .remove(&parameter.var)
                .ok_or_else(|| TrainingError::MissingGradient { step, parameter: parameter.name.clone() })?;
            tensors.push(gradient.contiguous()?.detach());
        }
        Ok(Self { tensors })
    }

    /// The gradients, in the order of the parameters.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    pub(crate) fn from_tensors(tensors: Vec<Tensor>) -> Self {
        Self { tensors }
    }

    /// Multiplies every gradient.
    ///
    /// # Errors
    /// The tensor library failed.
    pub fn scaled(&self, factor: f64) -> Result<Self> {
        if factor == 1.0 {
            return Ok(self.clone());
        }
        let tensors = self.tensors.iter().map(|tensor| Ok((tensor * factor)?)).collect::<Result<_>>()?;
        Ok(Self { tensors })
    }
}

/// Runs `body` on the elements of a contiguous f32 CPU tensor.
pub(crate) fn with_values<R>(tensor: &Tensor, body: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else {
        return Err(TrainingError::argument("with_values", "a tensor in main memory", "another device"));
    };
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets().and_then(|(start, end)| values.get(start..end)) {
        Some(values) => Ok(body(values)),
        None => Err(TrainingError::argument("with_values", "a contiguous tensor", format!("{layout:?}"))),
    }
}
