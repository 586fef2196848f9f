//! The loop of every stage: steps, measurements, checkpoints, early stops, the export of the best weights.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::{SelectionMetric, StageSettings};
use super::environment::Environment;
use super::policy::Policy;
use super::validation::{Measurement, Validator};
use super::{MODEL_DIRECTORY, export};
use crate::optimizer::NamedParameter;
use crate::run::checkpoint::CheckpointStore;
use crate::run::log::{JsonLinesLog, RunDirectory};
use crate::run::trainer::Trainer;
use crate::stages::finished_model::{RunSummary, finished};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// What one step tells the log.
#[derive(Debug, Default)]
pub(crate) struct StepReport {
    pub(crate) metrics: Map<String, Value>,
    pub(crate) samples: Vec<Map<String, Value>>,
    /// Samples that were skipped, and why.
    pub(crate) messages: Vec<String>,
    /// Why the run should end here, if it should.
    pub(crate) stop: Option<String>,
}

/// A stage's own part of the loop.
pub(crate) trait LearningStep {
    /// Steps of the whole run.
    fn total_steps(&self) -> u64;

    /// Steps between measurements if the settings do not say.
    fn steps_per_epoch(&self) -> u64;

    /// Updates of the weights in one step.
    fn updates_per_step(&self) -> u64 {
        1
    }

    /// Factor on the learning rate of one of the policy's tensors.
    fn learning_rate_scale(&self, name: &str) -> f64 {
        let _ = name;
        1.0
    }

    /// What learns beside the policy.
    fn extra_parameters(&self) -> Vec<NamedParameter> {
        Vec::new()
    }

    /// Does step number `step`, counted from 1.
    fn step(&mut self, policy: &Policy, trainer: &mut Trainer, step: u64) -> Result<StepReport>;

    /// The loss on validation examples, where checkpoints are chosen by it.
    fn validation_loss(&mut self, policy: &Policy) -> Result<f64> {
        let _ = policy;
        Err(TrainingError::setting(
            "evaluation.metric",
            "a recall: this stage has no validation loss",
            &"loss",
        ))
    }

    /// What must be saved beside weights and optimizer.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Puts back what [`LearningStep::state`] gave.
    fn restore(&mut self, state: &Value) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// Where a run is; saved in every checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct RunState {
    seed: u64,
    updates: u64,
    finished: bool,
    /// Measurements since the best one.
    worse: u64,
    /// Measurements in a row that look like reward hacking.
    hacking: u64,
    best: Option<Best>,
    stage: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Best {
    step: u64,
    value: f64,
    reward: Option<f64>,
    recall: Option<f64>,
    metrics: Map<String, Value>,
}

/// A run in progress.
struct Run<'a> {
    settings: StageSettings<'a>,
    policy: Policy,
    learner: Box<dyn LearningStep>,
    trainer: Trainer,
    validator: Option<Validator>,
    checkpoints: CheckpointStore,
    metrics: JsonLinesLog,
    samples: JsonLinesLog,
    state: RunState,
    step: u64,
}

/// Runs a stage, or goes on with a run that was interrupted, and exports the best weights.
///
/// `config` is what `config.toml` records; `prepare` makes the stage's own part.
pub(crate) fn learn(
    settings: StageSettings<'_>,
    config: &impl Serialize,
    progress: &mut dyn Progress,
    prepare: impl FnOnce(&Policy, &mut Environment, &mut dyn Progress) -> Result<Box<dyn LearningStep>>,
) -> Result<RunSummary> {
    settings.check()?;
    let directory = RunDirectory::open(settings.output, config)?;
    let checkpoints = CheckpointStore::open(directory.path(), settings.evaluation.keep_checkpoints)?;
    let resumed = checkpoints.latest()?;
    let state = match &resumed {
        Some(snapshot) => checkpoints.state_of(snapshot)?,
        None => RunState { seed: settings.seed, ..RunState::default() },
    };
    let step = resumed.as_ref().map_or(0, |snapshot| snapshot.step);
    if state.finished
        && let Some(metrics) = finished(directory.path())?
    {
        return Ok(summary(&settings, metrics, &state, step));
    }
    let mut environment = Environment::open(&settings)?;
    let policy = Policy::open(&settings)?;
    let mut learner = prepare(&policy, &mut environment, progress)?;
    let validator = (settings.evaluation.metric != SelectionMetric::Loss)
        .then(|| Validator::prepare(&mut environment, settings.evaluation, progress))
        .transpose()?;
    let scaled = |parameter: NamedParameter| {
        let scale = learner.learning_rate_scale(&parameter.name);
        parameter.with_learning_rate_scale(scale)
    };
    let mut parameters: Vec<NamedParameter> = policy.parameters().into_iter().map(scaled).collect();
    parameters.extend(learner.extra_parameters());
    let updates = learner.total_steps().saturating_mul(learner.updates_per_step());
    let mut trainer =
        Trainer::new(settings.optimization.trainer(settings.learning_rate, updates), parameters)?;
    if let Some(snapshot) = &resumed {
        progress.message(&format!("continuing after step {}", snapshot.step));
        trainer.restore(snapshot, state.updates)?;
        learner.restore(&state.stage)?;
        checkpoints.mark_best(state.best.as_ref().map(|best| best.step))?;
    }
    let metrics = directory.log("metrics.jsonl", step)?;
    let samples = directory.log("samples.jsonl", step)?;
    let mut run =
        Run { settings, policy, learner, trainer, validator, checkpoints, metrics, samples, state, step };
    run.all_steps(progress)?;
    run.finish(&directory, progress)
}

fn summary(
    settings: &StageSettings<'_>,
    metrics: Map<String, Value>,
    state: &RunState,
    steps: u64,
) -> RunSummary {
    let best_step = state.best.as_ref().map_or(steps, |best| best.step);
    RunSummary { model: settings.output.join(MODEL_DIRECTORY), metrics, best_step, steps }
}

impl Run<'_> {
    fn all_steps(&mut self, progress: &mut dyn Progress) -> Result<()> {
        let total = self.learner.total_steps();
        let every = match self.settings.evaluation.every_steps {
            0 => self.learner.steps_per_epoch().max(1),
            steps => steps,
        };
        if self.step == 0 && !self.state.finished {
            // What the policy is worth before it learns is what every later number is compared with, and the first
            // checkpoint is where to return to if nothing gets better.
            self.measure(total, progress)?;
            self.save()?;
        }
        progress.begin(self.settings.name, total);
        progress.advance(self.step);
        while self.step < total && !self.state.finished {
            let stop = self.one_step(progress)?;
            let ends = stop.is_some() || self.step == total;
            if let Some(reason) = stop {
                progress.message(&format!("stopping at step {}: {reason}", self.step));
            }
            if ends || self.step.is_multiple_of(every) {
                self.state.finished |= ends;
                self.measure(total, progress)?;
                self.save()?;
            }
            progress.advance(self.step);
            if progress.cancelled() {
                return Err(TrainingError::Interrupted { step: self.step });
            }
        }
        progress.end();
        Ok(())
    }

    /// One step; returns why to stop after it, if so.
    fn one_step(&mut self, progress: &mut dyn Progress) -> Result<Option<String>> {
        let report = self.learner.step(&self.policy, &mut self.trainer, self.step + 1)?;
        self.trainer.update_average()?;
        self.step += 1;
        self.state.updates = self.trainer.steps();
        let mut record = Map::from_iter([
            ("step".to_owned(), json!(self.step)),
            ("epoch".to_owned(), json!(self.step as f64 / self.learner.steps_per_epoch().max(1) as f64)),
        ]);
        record.extend(report.metrics);
        progress.metrics(&record);
        self.metrics.append(&record)?;
        for sample in report.samples {
            let mut line = Map::from_iter([("step".to_owned(), json!(self.step))]);
            line.extend(sample);
            self.samples.append(&line)?;
        }
        for message in report.messages {
            progress.message(&message);
        }
        Ok(report.stop)
    }

    /// Measures the averaged weights, logs, and decides whether they are the best so far and whether to stop.
    fn measure(&mut self, total: u64, progress: &mut dyn Progress) -> Result<()> {
        let Self { trainer, policy, learner, validator, step, .. } = self;
        let measurement = trainer.with_average(|| match validator {
            Some(validator) => validator.measure(policy, *step),
            None => {
                let loss = learner.validation_loss(policy)?;
                let metrics = Map::from_iter([("validation_loss".to_owned(), json!(loss))]);
                Ok(Measurement { metrics, selection: -loss, reward_and_recall: None, samples: Vec::new() })
            }
        })?;
        if !measurement.selection.is_finite() {
            return Err(TrainingError::NonFiniteLoss { step: self.step, loss: measurement.selection as f32 });
        }
        let mut record = Map::from_iter([
            ("step".to_owned(), json!(self.step)),
            ("split".to_owned(), json!("validation")),
        ]);
        record.extend(measurement.metrics.clone());
        record.insert("selection".to_owned(), json!(measurement.selection));
        progress.metrics(&record);
        self.metrics.append(&record)?;
        for sample in &measurement.samples {
            self.samples.append(sample)?;
        }
        if let Some(reason) = self.judge(measurement)
            && self.step < total
            && !self.state.finished
        {
            progress.message(&format!("stopping at step {}: {reason}", self.step));
            self.state.finished = true;
        }
        Ok(())
    }

    /// Compares a measurement with the best one; returns why to stop, if so.
    fn judge(&mut self, measurement: Measurement) -> Option<String> {
        let Measurement { metrics, selection, reward_and_recall, .. } = measurement;
        let (reward, recall) = reward_and_recall.unzip();
        let evaluation = self.settings.evaluation;
        if self.step == 0 && !evaluation.start_may_win {
            return None;
        }
        let Some(best) = self.state.best.as_ref().filter(|best| selection <= best.value) else {
            self.state.best = Some(Best { step: self.step, value: selection, reward, recall, metrics });
            (self.state.worse, self.state.hacking) = (0, 0);
            return None;
        };
        self.state.worse += 1;
        let pairs = (reward.zip(best.reward), recall.zip(best.recall));
        let hacked = matches!(
            pairs,
            (Some((reward, best_reward)), Some((recall, best_recall)))
                if reward > best_reward && recall < best_recall - evaluation.hacking_tolerance
        );
        self.state.hacking = if hacked { self.state.hacking + 1 } else { 0 };
        if evaluation.hacking_patience > 0 && self.state.hacking >= evaluation.hacking_patience {
            return Some(format!(
                "reward hacking: in {} measurements in a row the similarity reward on the validation split is above \
                 that of step {} ({:.3}, it was {:.3}) and Recall@1 is below ({:.1} %, it was {:.1} %); step {} stays \
                 the best",
                self.state.hacking,
                best.step,
                reward.unwrap_or_default(),
                best.reward.unwrap_or_default(),
                100.0 * recall.unwrap_or_default(),
                100.0 * best.recall.unwrap_or_default(),
                best.step
            ));
        }
        (evaluation.patience > 0 && self.state.worse >= evaluation.patience).then(|| {
            format!("{} measurements without a better one than that of step {}", self.state.worse, best.step)
        })
    }

    fn save(&mut self) -> Result<()> {
        self.state.stage = self.learner.state();
        let state = serde_json::to_value(&self.state).map_err(std::io::Error::from)?;
        let snapshot = self.trainer.snapshot(self.step, state)?;
        if self.state.best.as_ref().is_some_and(|best| best.step == self.step) {
            // Named before it is there: should a kill come between, the next measurement names it again.
            self.checkpoints.mark_best(Some(self.step))?;
        }
        self.checkpoints.save(&snapshot)?;
        Ok(())
    }

    /// Exports the best weights.
    fn finish(self, directory: &RunDirectory, progress: &mut dyn Progress) -> Result<RunSummary> {
        let best = self.state.best.as_ref();
        if let Some(best) = best {
            let snapshot = self.checkpoints.load(best.step)?;
            let averaged = !snapshot.average.is_empty();
            self.policy.set(if averaged { &snapshot.average } else { &snapshot.weights })?;
        }
        progress.message("exporting the best weights");
        let metrics = best.map(|best| best.metrics.clone()).unwrap_or_default();
        export::export(directory.path(), &self.policy, &metrics)?;
        Ok(summary(&self.settings, metrics, &self.state, self.step))
    }
}
