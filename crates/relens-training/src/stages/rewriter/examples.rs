//! Texts as token ids, prompts and targets that end; and which of them a step sees: a new order each epoch, known from
//! the step alone. One update towards the targets of some examples.

use candle_core::{D, Tensor};
use rand::seq::SliceRandom;
use relens::progress::Progress;
use relens_models::language_model::PromptTargetBatch;
use relens_models::tokenizer::TokenBatch;
use serde_json::{Map, Value, json};

use super::policy::Policy;
use crate::objectives::masked_cross_entropy;
use crate::optimizer::{GradientAccumulator, Gradients};
use crate::random::stream;
use crate::run::trainer::{Trainer, UpdateReport};
use crate::{Result, TrainingError};
use relens::counted::{by_number, counted};

/// Samples whose skipping is told one by one; the rest is counted.
const NAMED_SAMPLES: usize = 3;

/// A prompt and what should follow it, as ids; the target ends with the end of sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Example {
    pub(crate) prompt: Vec<u32>,
    pub(crate) target: Vec<u32>,
}

impl Example {
    /// The batch of some examples.
    pub(crate) fn batch<'a>(examples: impl IntoIterator<Item = &'a Self>) -> PromptTargetBatch {
        PromptTargetBatch::from_pairs(examples.into_iter().map(|example| (&example.prompt, &example.target)))
    }
}

/// Turns (prompt, target) texts into examples; `None` for a prompt or a target that is empty or does not
/// fit, and for a target with tokens that the model cannot write: half of a prompt would ask for something else.
pub(crate) fn encode_pairs(policy: &Policy, pairs: &[(String, String)]) -> Result<Vec<Option<Example>>> {
    let prompts: Vec<&str> = pairs.iter().map(|(prompt, _)| prompt.as_str()).collect();
    let targets: Vec<&str> = pairs.iter().map(|(_, target)| target.as_str()).collect();
    let prompts = policy.encode_prompts(&prompts)?;
    let targets = policy.encode_targets(&targets)?;
    Ok((0..pairs.len())
        .map(|index| {
            let (prompt, target) = (prompts.sequence(index)?.to_vec(), targets.sequence(index)?.to_vec());
            let most = policy.most_target_tokens(prompt.len());
            let lost = |batch: &TokenBatch| batch.truncated.get(index).copied().unwrap_or(true);
            let whole = !lost(&prompts) && !lost(&targets);
            let writable = target.iter().all(|&id| (id as usize) < policy.model().vocabulary_size());
            let fits = whole && writable && (2..=most).contains(&target.len()) && !prompt.is_empty();
            fits.then_some(Example { prompt, target })
        })
        .collect())
}

/// Leaves out what could not be encoded, and says so with the first samples' names.
pub(crate) fn fitting<T>(
    encoded: Vec<Option<T>>,
    name: impl Fn(usize) -> String,
    progress: &mut dyn Progress,
) -> Vec<T> {
    let total = encoded.len();
    let mut skipped = 0;
    let mut kept = Vec::with_capacity(total);
    for (index, example) in encoded.into_iter().enumerate() {
        match example {
            Some(example) => kept.push(example),
            None => {
                skipped += 1;
                if skipped <= NAMED_SAMPLES {
                    let name = name(index);
                    progress.message(&format!(
                        "sample {index} (`{name}`) is empty or longer than the rewriter can read or write: skipped"
                    ));
                }
            }
        }
    }
    if skipped > NAMED_SAMPLES {
        progress.message(&format!(
            "{skipped} of {} {} skipped in all",
            counted(total, "sample"),
            by_number(&skipped, "was", "were")
        ));
    }
    kept
}

/// Shuffled batches.
#[derive(Debug)]
pub(crate) struct EpochBatches {
    examples: usize,
    batch_size: usize,
    seed: u64,
    epochs: f64,
    max_steps: u64,
    /// The epoch whose order is at hand.
    order: Option<(u64, Vec<usize>)>,
}

impl EpochBatches {
    pub(crate) fn new(examples: usize, batch_size: usize, seed: u64) -> Self {
        Self {
            examples,
            batch_size: batch_size.clamp(1, examples.max(1)),
            seed,
            epochs: 1.0,
            max_steps: 0,
            order: None,
        }
    }

    /// The same for so many epochs, and so many steps at most; 0 for no limit of steps.
    pub(crate) fn lasting(self, epochs: f64, max_steps: u64) -> Self {
        Self { epochs, max_steps, ..self }
    }

    /// Batches of one epoch; the last one may be smaller.
    pub(crate) fn steps_per_epoch(&self) -> u64 {
        self.examples.div_ceil(self.batch_size).max(1) as u64
    }

    /// Steps of a whole run.
    pub(crate) fn total_steps(&self) -> u64 {
        let steps = (self.steps_per_epoch() as f64 * self.epochs).ceil().max(1.0) as u64;
        if self.max_steps > 0 { steps.min(self.max_steps) } else { steps }
    }

    /// The examples of a step, counted from 0.
    pub(crate) fn batch(&mut self, step: u64) -> Vec<usize> {
        let (epoch, place) = (step / self.steps_per_epoch(), step % self.steps_per_epoch());
        if self.order.as_ref().is_none_or(|(known, _)| *known != epoch) {
            let mut order: Vec<usize> = (0..self.examples).collect();
            order.shuffle(&mut stream(self.seed, "order", epoch));
            self.order = Some((epoch, order));
        }
        let order = self.order.as_ref().map_or(&[][..], |(_, order)| order);
        order.chunks(self.batch_size).nth(place as usize).unwrap_or_default().to_vec()
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_every_example_once_in_an_order_of_its_own() {
        let mut batches = EpochBatches::new(10, 4, 1).lasting(2.5, 0);
        assert_eq!((batches.steps_per_epoch(), batches.total_steps()), (3, 8));
        assert_eq!(EpochBatches::new(10, 4, 1).lasting(2.5, 5).total_steps(), 5);
        let epoch = |batches: &mut EpochBatches, first: u64| -> Vec<usize> {
            (first..first + 3).flat_map(|step| batches.batch(step)).collect()
        };
        let (first, second) = (epoch(&mut batches, 0), epoch(&mut batches, 3));
        assert_ne!(first, second);
        for mut order in [first.clone(), second] {
            order.sort_unstable();
            assert_eq!(order, (0..10).collect::<Vec<_>>());
        }
        assert_eq!(epoch(&mut EpochBatches::new(10, 4, 1), 0), first, "any step can be the first");
    }
}
