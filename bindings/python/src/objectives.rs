//! The papers' objectives on numpy's arrays: the value, and the gradient with it.

use candle_core::{Device, Tensor, Var};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use relens_training::objectives::{
    self, AdaptiveKl, AdvantageConfig, Advantages, GroupRollouts, clipped_policy_loss, clipped_value_loss,
    group_relative_loss, preference_ranking,
};

use crate::arrays;
use crate::fault::{Fault, Result};
use crate::process;

type Array<'py> = Bound<'py, PyArray1<f32>>;
type Values<'py> = PyReadonlyArray1<'py, f32>;

/// An array to differentiate by.
fn variable(name: &'static str, array: &Values<'_>) -> Result<Var> {
    process::ensure_not_forked()?;
    let values = finite(name, array)?;
    Ok(Var::from_slice(values, values.len(), &Device::Cpu)?)
}

fn finite<'a>(name: &'static str, array: &'a Values<'_>) -> Result<&'a [f32]> {
    let values = arrays::values(name, array)?;
    arrays::ensure_finite(name, values, values.len())?;
    Ok(values)
}

/// The loss, and its gradient by `by`.
fn differentiated<'py>(py: Python<'py>, loss: &Tensor, by: &Var) -> Result<(f32, Array<'py>)> {
    let value = loss.to_scalar::<f32>()?;
    let gradients = loss.backward()?;
    let gradient = match gradients.get(by) {
        Some(gradient) => gradient.flatten_all()?.to_vec1::<f32>()?,
        None => vec![0.0; by.elem_count()],
    };
    Ok((value, gradient.into_pyarray(py)))
}

/// Preference ranking: the loss and its gradient by the log-probabilities.
#[pyfunction]
pub(crate) fn pro_loss<'py>(
    py: Python<'py>,
    mean_log_probs: Values<'py>,
    rewards: Vec<Vec<f32>>,
) -> Result<(f32, Array<'py>)> {
    let variable = variable("mean_log_probs", &mean_log_probs)?;
    differentiated(py, &preference_ranking(&variable, &rewards)?, &variable)
}

/// The clipped policy loss, its gradient, and what a log tells of it.
#[pyfunction]
pub(crate) fn ppo_loss<'py>(
    py: Python<'py>,
    log_probs: Values<'py>,
    old_log_probs: Values<'py>,
    advantages: Values<'py>,
    clip_range: f64,
) -> Result<(f32, Array<'py>, Bound<'py, PyDict>)> {
    let variable = variable("log_probs", &log_probs)?;
    let (old, advantages) = (finite("old_log_probs", &old_log_probs)?, finite("advantages", &advantages)?);
    let found = clipped_policy_loss(&variable, old, advantages, clip_range)?;
    let (value, gradient) = differentiated(py, &found.loss, &variable)?;
    let metrics = PyDict::new(py);
    metrics.set_item("clip_fraction", found.clip_fraction)?;
    metrics.set_item("ratio", found.ratio)?;
    metrics.set_item("approximate_kl", found.approximate_kl)?;
    Ok((value, gradient, metrics))
}

/// The clipped value loss and its gradient.
#[pyfunction]
pub(crate) fn value_loss<'py>(
    py: Python<'py>,
    values: Values<'py>,
    old_values: Values<'py>,
    returns: Values<'py>,
    clip_range: f64,
) -> Result<(f32, Array<'py>)> {
    let variable = variable("values", &values)?;
    let (old, returns) = (finite("old_values", &old_values)?, finite("returns", &returns)?);
    differentiated(py, &clipped_value_loss(&variable, old, returns, clip_range)?, &variable)
}

/// The group relative loss, its gradient, and what a log tells of it.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "the arguments of the equation")]
pub(crate) fn grpo_loss<'py>(
    py: Python<'py>,
    log_probs: Values<'py>,
    old_log_probs: Values<'py>,
    reference_log_probs: Values<'py>,
    advantages: Values<'py>,
    offsets: Vec<usize>,
    clip_range: f64,
    kl_coefficient: f64,
) -> Result<(f32, Array<'py>, Bound<'py, PyDict>)> {
    let variable = variable("log_probs", &log_probs)?;
    let rollouts = GroupRollouts {
        old_log_probs: finite("old_log_probs", &old_log_probs)?,
        reference_log_probs: finite("reference_log_probs", &reference_log_probs)?,
        advantages: finite("advantages", &advantages)?,
        offsets: &offsets,
    };
    let found = group_relative_loss(&variable, rollouts, clip_range, kl_coefficient)?;
    let (value, gradient) = differentiated(py, &found.loss, &variable)?;
    let metrics = PyDict::new(py);
    metrics.set_item("kl", found.kl)?;
    metrics.set_item("clip_fraction", found.clip_fraction)?;
    Ok((value, gradient, metrics))
}

/// Generalized advantage estimation: advantages and returns.
#[pyfunction]
pub(crate) fn generalized_advantages<'py>(
    py: Python<'py>,
    rewards: Values<'py>,
    values: Values<'py>,
    offsets: Vec<usize>,
    gamma: f64,
    lambda_: f64,
) -> Result<(Array<'py>, Array<'py>)> {
    let (rewards, values) = (finite("rewards", &rewards)?, finite("values", &values)?);
    let config = AdvantageConfig { gamma, lambda: lambda_ };
    let Advantages { advantages, returns } =
        objectives::generalized_advantages(rewards, values, &offsets, config)?;
    Ok((advantages.into_pyarray(py), returns.into_pyarray(py)))
}

/// Advantages within groups of samples of one query.
#[pyfunction]
pub(crate) fn group_advantages<'py>(
    py: Python<'py>,
    rewards: Values<'py>,
    group: usize,
    scale: bool,
) -> Result<Array<'py>> {
    let found = objectives::group_advantages(finite("rewards", &rewards)?, group, scale)?;
    Ok(found.into_pyarray(py))
}

/// The values with mean 0 and deviation 1.
#[pyfunction]
pub(crate) fn whiten<'py>(py: Python<'py>, values: Values<'py>) -> Result<Array<'py>> {
    let mut whitened = finite("values", &values)?.to_vec();
    objectives::whiten(&mut whitened);
    Ok(whitened.into_pyarray(py))
}

/// The coefficient of the KL penalty after a batch.
#[pyfunction]
pub(crate) fn adaptive_kl(coefficient: f64, kl: f64, target: f64, gain: f64) -> Result<f64> {
    if !(target.is_finite() && target > 0.0) {
        let (expected, found) = ("a target above 0".to_owned(), target.to_string());
        return Err(Fault::Argument { name: "target", expected, found });
    }
    let mut controller = AdaptiveKl { coefficient, target, gain };
    controller.update(kl)?;
    Ok(controller.coefficient)
}
