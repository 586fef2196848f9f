//! One update towards given targets.

use candle_core::{D, Tensor};
use serde_json::{Map, Value, json};

use super::examples::Example;
use super::policy::Policy;
use crate::objectives::masked_cross_entropy;
use crate::optimizer::{GradientAccumulator, Gradients};
use crate::run::trainer::{Trainer, UpdateReport};
use crate::{Result, TrainingError};

/// Examples whose validation loss is computed at once.
const VALIDATION_BATCH: usize = 64;

/// What one update saw.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SupervisedReport {
    pub(crate) loss: f64,
    pub(crate) accuracy: f64,
    pub(crate) tokens: usize,
}

/// The gradient of the mean cross-entropy over all target tokens of `examples`, whatever the number of micro-batches.
pub(crate) fn supervised_gradients(
    policy: &Policy,
    trainer: &Trainer,
    examples: &[Example],
    micro_batch: usize,
    label_smoothing: f64,
    step: u64,
) -> Result<(Gradients, SupervisedReport)> {
    let mut accumulator = GradientAccumulator::default();
    let mut report = SupervisedReport::default();
    for (micro, examples) in examples.chunks(micro_batch.max(1)).enumerate() {
        let batch = Example::batch(examples);
        let pass = policy.pass(&batch, policy.dropout(step, micro))?;
        let logits = policy.model().logits(&pass.hidden)?;
        let targets = &batch.targets.ids;
        let loss = masked_cross_entropy(&logits, targets, &vec![true; targets.len()], label_smoothing)?;
        let value = finite_loss(&loss, step)?;
        let gradients = pass.gradients(&loss, trainer.parameters(), step)?;
        accumulator.add(&gradients, targets.len())?;
        report.loss += value * targets.len() as f64;
        report.accuracy += correct_tokens(&logits, targets)? as f64;
        report.tokens += targets.len();
    }
    let gradients = accumulator
        .take()?
        .ok_or_else(|| TrainingError::argument("supervised_gradients", "at least one example", "none"))?;
    let tokens = report.tokens.max(1) as f64;
    report.loss /= tokens;
    report.accuracy /= tokens;
    Ok((gradients, report))
}

/// The lines of the log, under the names of TRL's `SFTTrainer`.
pub(crate) fn supervised_metrics(report: SupervisedReport, update: UpdateReport) -> Map<String, Value> {
    Map::from_iter([
        ("loss".to_owned(), json!(report.loss)),
        ("mean_token_accuracy".to_owned(), json!(report.accuracy)),
        ("num_tokens".to_owned(), json!(report.tokens)),
        ("learning_rate".to_owned(), json!(update.learning_rate)),
        ("grad_norm".to_owned(), json!(update.gradient_norm)),
    ])
}

/// Mean cross-entropy over all target tokens, without dropout.
pub(crate) fn mean_loss(policy: &Policy, examples: &[Example]) -> Result<f64> {
    let (mut total, mut tokens) = (0.0, 0);
    for examples in examples.chunks(VALIDATION_BATCH) {
        let batch = Example::batch(examples);
        let log_probs = policy.model().target_log_probs(&batch, None)?.detach();
        total -= f64::from(log_probs.sum_all()?.to_scalar::<f32>()?);
        tokens += batch.targets.ids.len();
    }
    Ok(total / tokens.max(1) as f64)
}

/// The loss as a number, if it is one.
pub(crate) fn finite_loss(loss: &Tensor, step: u64) -> Result<f64> {
    let value = loss.to_scalar::<f32>()?;
    if value.is_finite() {
        return Ok(f64::from(value));
    }
    Err(TrainingError::NonFiniteLoss { step, loss: value })
}

fn correct_tokens(logits: &Tensor, targets: &[u32]) -> Result<usize> {
    let guesses = logits.detach().argmax(D::Minus1)?.to_vec1::<u32>()?;
    Ok(guesses.iter().zip(targets).filter(|(guess, target)| guess == target).count())
}
