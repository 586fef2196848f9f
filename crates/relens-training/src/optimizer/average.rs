//! An exponential moving average of the weights, which generalises better than the last step's.

use std::collections::HashMap;

use candle_core::Tensor;
use rayon::prelude::*;

use super::{NamedParameter, with_values};
use crate::{Result, TrainingError};

/// Elements averaged by one task.
const CHUNK: usize = 16 * 1024;

/// Moving average of named parameters (Polyak & Juditsky 1992), `a ← d·a + (1 − d)·w` after every step.
///
/// Early on the decay is `min(decay, (1 + step) / (10 + step))`, as in TensorFlow's `ExponentialMovingAverage`: the
/// random start is forgotten at once instead of dragging on for 1 / (1 − decay) steps.
#[derive(Debug)]
pub struct WeightAverage {
    decay: f64,
    averages: Vec<Vec<f32>>,
}

impl WeightAverage {
    /// Starts at the parameters' present values; `decay` in `[0, 1)`, 0 follows the weights exactly.
    ///
    /// # Errors
    /// The decay is not in `[0, 1)`.
    pub fn new(decay: f64, parameters: &[NamedParameter]) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            return Err(TrainingError::setting("weight_average", "in [0, 1)", &decay));
        }
        let averages = parameters
            .iter()
            .map(|parameter| with_values(&parameter.var, <[f32]>::to_vec))
            .collect::<Result<_>>()?;
        Ok(Self { decay, averages })
    }

    /// Takes in the weights after step number `step` (from 1).
    ///
    /// # Errors
    /// The tensor library failed to read a parameter.
    pub fn update(&mut self, parameters: &[NamedParameter], step: u64) -> Result<()> {
        let step = step as f64;
        let decay = self.decay.min((1.0 + step) / (10.0 + step)) as f32;
        for (average, parameter) in self.averages.iter_mut().zip(parameters) {
            with_values(&parameter.var, |values| {
                average.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(average, values)| {
                    for (average, value) in average.iter_mut().zip(values) {
                        *average += (1.0 - decay) * (value - *average);
                    }
                });
            })?;
        }
        Ok(())
    }

    /// The averages by name, in the shapes of the parameters.
    ///
    /// # Errors
    /// The tensor library failed to copy.
    pub fn state(&self, parameters: &[NamedParameter]) -> Result<Vec<(String, Tensor)>> {
        self.averages
            .iter()
            .zip(parameters)
            .map(|(average, parameter)| {
                let tensor = Tensor::from_slice(average, parameter.var.shape(), parameter.var.device())?;
                Ok((parameter.name.clone(), tensor))
            })
            .collect()
    }

    /// Puts back what [`WeightAverage::state`] gave.
    ///
    /// # Errors
    /// A parameter's average is missing or of another shape.
    pub fn load_state(
        &mut self,
        state: &HashMap<String, Tensor>,
        parameters: &[NamedParameter],
    ) -> Result<()> {
        for (average, parameter) in self.averages.iter_mut().zip(parameters) {
            match state.get(&parameter.name) {
                Some(tensor) if tensor.dims() == parameter.var.dims() => {
                    *average = tensor.flatten_all()?.to_vec1()?;
                }
                other => {
                    return Err(TrainingError::argument(
                        "WeightAverage::load_state",
                        format!("tensor `{}` of shape {:?}", parameter.name, parameter.var.dims()),
                        format!("{:?}", other.map(Tensor::dims)),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Exchanges the averages and the parameters' values: before an evaluation, and again after it.
    ///
    /// # Errors
    /// The tensor library failed to read or set a parameter.
    pub fn swap(&mut self, parameters: &[NamedParameter]) -> Result<()> {
        for (average, parameter) in self.averages.iter_mut().zip(parameters) {
            let current = with_values(&parameter.var, <[f32]>::to_vec)?;
            let averaged = std::mem::replace(average, current);
            let averaged = Tensor::from_vec(averaged, parameter.var.shape(), parameter.var.device())?;
            parameter.var.set(&averaged)?;
        }
        Ok(())
    }
}
