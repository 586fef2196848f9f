//! AdamW (Loshchilov & Hutter 2019), the arithmetic of `torch.optim.AdamW`, in place and on all cores.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Gradients, NamedParameter, with_values};
use crate::{Result, TrainingError};

/// Elements updated by one task.
const CHUNK: usize = 16 * 1024;

/// Settings of AdamW that stay the same over a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// β₁, the decay of the mean gradient. Default 0.9, range [0, 1). Source: Kingma & Ba 2015.
    pub beta1: f64,
    /// β₂, the decay of the mean squared gradient. Default 0.98, range [0, 1); lower follows changes faster.
    /// Source: CLIP (Radford et al. 2021, table 19).
    pub beta2: f64,
    /// ε in the denominator. Default 1e-6, above 0. Source: CLIP, table 19.
    pub epsilon: f64,
    /// Decoupled weight decay λ: weights shrink by `learning_rate · λ` a step. Default 0.1, range [0, 1].
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weight_decay: 0.1 }
    }
}

/// First and second moment of one parameter.
#[derive(Debug, Clone)]
struct Moments {
    mean: Vec<f32>,
    square: Vec<f32>,
}

/// The optimizer with its state.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    parameters: Vec<NamedParameter>,
    moments: Vec<Moments>,
    steps: u64,
}

impl AdamW {
    /// An optimizer at step 0.
    ///
    /// # Errors
    /// A parameter that is not contiguous f32 in main memory, or a setting outside its range.
    pub fn new(config: AdamWConfig, parameters: Vec<NamedParameter>) -> Result<Self> {
        check(&config)?;
        let moments = parameters
            .iter()
            .map(|parameter| {
                if parameter.var.dtype() != candle_core::DType::F32 || !parameter.var.is_contiguous() {
                    return Err(TrainingError::argument(
                        "AdamW::new",
                        format!("`{}` as contiguous F32", parameter.name),
                        format!("{:?} {:?}", parameter.var.dtype(), parameter.var.layout()),
                    ));
                }
                let count = parameter.var.elem_count();
                Ok(Moments { mean: vec![0.0; count], square: vec![0.0; count] })
            })
            .collect::<Result<_>>()?;
        Ok(Self { config, parameters, moments, steps: 0 })
    }

    /// The parameters, in the order in which gradients are expected.
    pub fn parameters(&self) -> &[NamedParameter] {
        &self.parameters
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One update of all parameters at the given learning rate.
    ///
    /// # Errors
    /// There is another number of gradients than of parameters, or one is of another shape.
    pub fn step(&mut self, gradients: &Gradients, learning_rate: f64) -> Result<()> {
        if gradients.tensors().len() != self.parameters.len() {
            return Err(TrainingError::argument(
                "AdamW::step",
                format!("{} gradients", self.parameters.len()),
                gradients.tensors().len().to_string(),
            ));
        }
        self.steps += 1;
        let exponent = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let correction1 = 1.0 - self.config.beta1.powi(exponent);
        let correction2 = 1.0 - self.config.beta2.powi(exponent);
        for ((parameter, moments), gradient) in
            self.parameters.iter().zip(&mut self.moments).zip(gradients.tensors())
        {
            let rate = learning_rate * parameter.options.learning_rate_scale;
            let decay = if parameter.options.decay { self.config.weight_decay } else { 0.0 };
            let coefficients = Coefficients {
                beta1: self.config.beta1 as f32,
                beta2: self.config.beta2 as f32,
                keep: (1.0 - rate * decay) as f32,
                step_size: (rate / correction1) as f32,
                inverse_root_correction2: (1.0 / correction2.sqrt()) as f32,
                epsilon: self.config.epsilon as f32,
            };
            with_values(gradient, |gradient| {
                parameter.var.inplace_op1(&Update { coefficients, gradient, moments: Mutex::new(moments) })
            })??;
        }
        Ok(())
    }

    /// The state as named tensors: `mean.NAME` and `square.NAME`, in the parameters' order.
    ///
    /// # Errors
    /// The tensor library failed to copy.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut state = Vec::with_capacity(2 * self.parameters.len());
        for (parameter, moments) in self.parameters.iter().zip(&self.moments) {
            for (kind, values) in [("mean", &moments.mean), ("square", &moments.square)] {
                let tensor = Tensor::from_slice(values, parameter.var.shape(), parameter.var.device())?;
                state.push((format!("{kind}.{}", parameter.name), tensor));
            }
        }
        Ok(state)
    }

    /// Puts back what [`AdamW::state`] gave, after `steps` steps.
    ///
    /// # Errors
    /// A tensor that is missing or of another size.
    pub fn load_state(&mut self, state: &HashMap<String, Tensor>, steps: u64) -> Result<()> {
        let mut loaded = Vec::with_capacity(self.moments.len());
        for parameter in &self.parameters {
            loaded.push(Moments {
                mean: moment(state, "mean", parameter)?,
                square: moment(state, "square", parameter)?,
            });
        }
        self.moments = loaded;
        self.steps = steps;
        Ok(())
    }
}

fn moment(state: &HashMap<String, Tensor>, kind: &str, parameter: &NamedParameter) -> Result<Vec<f32>> {
    let name = format!("{kind}.{}", parameter.name);
    let expected = format!("tensor `{name}` of shape {:?}", parameter.var.dims());
    match state.get(&name) {
        Some(tensor) if tensor.dims() == parameter.var.dims() => Ok(tensor.flatten_all()?.to_vec1()?),
        Some(tensor) => {
            Err(TrainingError::argument("AdamW::load_state", expected, format!("{:?}", tensor.dims())))
        }
        None => Err(TrainingError::argument("AdamW::load_state", expected, "nothing")),
    }
}

fn check(config: &AdamWConfig) -> Result<()> {
    for (field, value) in [("beta1", config.beta1), ("beta2", config.beta2)] {
        if !(0.0..1.0).contains(&value) {
            return Err(TrainingError::setting(format!("optimizer.{field}"), "in [0, 1)", &value));
        }
    }
    if config.epsilon.is_nan() || config.epsilon <= 0.0 {
        return Err(TrainingError::setting("optimizer.epsilon", "above 0", &config.epsilon));
    }
    if !(0.0..=1.0).contains(&config.weight_decay) {
        return Err(TrainingError::setting("optimizer.weight_decay", "in [0, 1]", &config.weight_decay));
    }
    Ok(())
}

/// The numbers of one update, the same for all elements of a parameter.
#[derive(Clone, Copy)]
struct Coefficients {
    beta1: f32,
    beta2: f32,
    keep: f32,
    step_size: f32,
    inverse_root_correction2: f32,
    epsilon: f32,
}

impl Coefficients {
    /// `p ← (1 − lr·λ)·p − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)`; a plain loop that the compiler vectorises.
    fn apply(self, weights: &mut [f32], gradients: &[f32], mean: &mut [f32], square: &mut [f32]) {
        let (rest1, rest2) = (1.0 - self.beta1, 1.0 - self.beta2);
        for (((weight, &gradient), mean), square) in
            weights.iter_mut().zip(gradients).zip(mean.iter_mut()).zip(square.iter_mut())
        {
            *mean = self.beta1 * *mean + rest1 * gradient;
            *square = self.beta2 * *square + rest2 * gradient * gradient;
            let denominator = square.sqrt() * self.inverse_root_correction2 + self.epsilon;
            *weight = self.keep * *weight - self.step_size * *mean / denominator;
        }
    }
}

/// The in-place operation on a parameter's storage.
struct Update<'a> {
    coefficients: Coefficients,
    gradient: &'a [f32],
    moments: Mutex<&'a mut Moments>,
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw-update"
    }

    fn cpu_fwd(&self, weights: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(weights), Some((start, end))) = (weights, layout.contiguous_offsets()) else {
            candle_core::bail!("adamw-update takes contiguous f32 weights");
        };
        let weights = &mut weights[start..end];
        if weights.len() != self.gradient.len() {
            let (expected, found) = (weights.len(), self.gradient.len());
            candle_core::bail!("adamw-update: {expected} weights, {found} gradients");
        }
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let Moments { mean, square } = &mut **moments;
        weights
            .par_chunks_mut(CHUNK)
            .zip(self.gradient.par_chunks(CHUNK))
            .zip(mean.par_chunks_mut(CHUNK))
            .zip(square.par_chunks_mut(CHUNK))
            .for_each(|(((weights, gradients), mean), square)| {
                self.coefficients.apply(weights, gradients, mean, square);
            });
        Ok(())
    }
}
