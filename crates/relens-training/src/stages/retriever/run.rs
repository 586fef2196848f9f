//! The loop: phases, updates, measurements, checkpoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::batches::{BatchPlan, draw_batch};
use super::config::{PhaseConfig, PhaseStart, RetrieverConfig, TrainedPart};
use super::export;
use super::materials::Materials;
use super::network::Network;
use super::step::{LossReport, StepContext};
use super::validation::Measurement;
use crate::objectives::temperature::clamp_logit_scale;
use crate::optimizer::GradientAccumulator;
use crate::run::checkpoint::{CheckpointStore, Snapshot};
use crate::run::log::{JsonLinesLog, RunDirectory, object};
use crate::run::trainer::{Trainer, TrainerConfig, UpdateReport};
use crate::schedule::Schedule;
use crate::stages::finished_model::{MODEL_DIRECTORY, RunSummary, finished};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Where a run is; saved in every checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct RunState {
    seed: u64,
    phase: usize,
    /// Updates done in this phase: position of schedule, data and random streams.
    phase_step: u64,
    phase_finished: bool,
    /// Measurements since the best one.
    worse: u64,
    best: Option<Best>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Best {
    step: u64,
    value: f64,
}

/// A run in progress.
struct Run<'a> {
    config: &'a RetrieverConfig,
    materials: Materials,
    network: Network,
    checkpoints: CheckpointStore,
    metrics: JsonLinesLog,
    samples: JsonLinesLog,
    state: RunState,
    step: u64,
}

/// Trains a retriever, or goes on with a run that was interrupted, and exports the best weights.
///
/// A finished run is left as it is and its summary returned.
///
/// # Errors
/// [`TrainingError::RunChanged`] and [`TrainingError::RunLocked`] for the run directory; data, pictures or weights
/// that cannot be read; a loss or gradient that is not finite; a full disk; [`TrainingError::Interrupted`] where
/// `progress` asked for it. The last checkpoint stays in every case.
pub fn run(config: &RetrieverConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
    run_on(config, progress, |progress| Materials::prepare(config, progress))
}

/// As [`run`], on materials that `prepare` makes.
pub(super) fn run_on(
    config: &RetrieverConfig,
    progress: &mut dyn Progress,
    prepare: impl FnOnce(&mut dyn Progress) -> Result<Materials>,
) -> Result<RunSummary> {
    config.check()?;
    let directory = RunDirectory::open(&config.output, config)?;
    let checkpoints = CheckpointStore::open(directory.path(), config.evaluation.keep_checkpoints)?;
    let resumed = checkpoints.latest()?;
    let state = match &resumed {
        Some(snapshot) => checkpoints.state_of(snapshot)?,
        None => RunState { seed: config.seed, ..RunState::default() },
    };
    let step = resumed.as_ref().map_or(0, |snapshot| snapshot.step);
    let complete = state.phase_finished && state.phase + 1 >= config.phases.len();
    if complete && let Some(metrics) = finished(directory.path())? {
        return Ok(summary(config, metrics, &state, step));
    }
    let materials = prepare(progress)?;
    let standardization = materials.image_standardization.clone();
    let network =
        Network::new(&materials.pretrained, materials.weights.clone(), standardization, &config.phases)?;
    if let Some(snapshot) = &resumed {
        progress.message(&format!("continuing after step {}", snapshot.step));
        checkpoints.mark_best(state.best.map(|best| best.step))?;
    }
    let metrics = directory.log("metrics.jsonl", step)?;
    let samples = directory.log("samples.jsonl", step)?;
    let mut run = Run { config, materials, network, checkpoints, metrics, samples, state, step };
    run.phases(resumed, progress)?;
    run.load_best()?;
    progress.message("exporting the best weights");
    let metrics = export::export(directory.path(), &run.materials, &run.network)?;
    Ok(summary(config, metrics, &run.state, run.step))
}

fn summary(
    config: &RetrieverConfig,
    metrics: Map<String, Value>,
    state: &RunState,
    steps: u64,
) -> RunSummary {
    let best_step = state.best.map_or(steps, |best| best.step);
    RunSummary { model: config.output.join(MODEL_DIRECTORY), metrics, best_step, steps }
}

impl Run<'_> {
    /// All phases from where the run is.
    fn phases(&mut self, mut resumed: Option<Snapshot>, progress: &mut dyn Progress) -> Result<()> {
        if let Some(snapshot) = &resumed {
            self.network.set_variables(&snapshot.weights)?;
        }
        while self.state.phase < self.config.phases.len() {
            if !self.state.phase_finished {
                self.phase(resumed.take(), progress)?;
            }
            resumed = None;
            if self.state.phase + 1 == self.config.phases.len() {
                return Ok(());
            }
            self.state.phase += 1;
            self.state.phase_step = 0;
            self.state.phase_finished = false;
            self.state.worse = 0;
        }
        Ok(())
    }

    /// One phase, from its beginning or from a checkpoint inside it.
    fn phase(&mut self, resumed: Option<Snapshot>, progress: &mut dyn Progress) -> Result<()> {
        let config = self.config;
        let phase = &config.phases[self.state.phase];
        let pictures = self.materials.corpus.training_pictures;
        let plan = BatchPlan::new(pictures, phase, self.state.phase, config.seed);
        if self.state.phase > 0 && self.state.phase_step == 0 {
            self.load_start(phase.start)?;
        }
        let mut trainer = Trainer::new(trainer_config(config, phase, &plan), self.network.parameters(phase))?;
        if let Some(snapshot) = resumed {
            trainer.restore(&snapshot, self.state.phase_step)?;
        }
        let total = plan.total_steps();
        progress.begin(&format!("phase {} ({})", self.state.phase + 1, phase.name), total);
        progress.advance(self.state.phase_step);
        let every = match config.evaluation.every_steps {
            0 => plan.steps_per_epoch(),
            steps => steps,
        };
        while self.state.phase_step < total {
            let (loss, update) = self.update(phase, &plan, &mut trainer)?;
            self.log_update(phase, &plan, loss, update, progress)?;
            if self.state.phase_step == total || self.state.phase_step.is_multiple_of(every) {
                self.measure(phase, &mut trainer, total, progress)?;
                self.save(&trainer)?;
                if self.state.phase_finished {
                    break;
                }
            }
            progress.advance(self.state.phase_step);
            if progress.cancelled() {
                return Err(TrainingError::Interrupted { step: self.step });
            }
        }
        progress.end();
        Ok(())
    }

    /// One update, of one batch or of several whose gradients are averaged.
    fn update(
        &mut self,
        phase: &PhaseConfig,
        plan: &BatchPlan,
        trainer: &mut Trainer,
    ) -> Result<(LossReport, UpdateReport)> {
        let config = self.config;
        let step = self.step + 1;
        let micro_batches = plan.pictures(self.state.phase_step);
        let share = 1.0 / micro_batches.len() as f64;
        let mut accumulator = GradientAccumulator::default();
        let mut report = LossReport::default();
        for (micro, pictures) in micro_batches.into_iter().enumerate() {
            let examples = pictures.len();
            // Steps of all phases count on, so that no two batches of a run share a random stream.
            let draw = step * phase.accumulate + micro as u64 + ((self.state.phase as u64) << 40);
            let all = self.materials.corpus.training();
            let batch = draw_batch(pictures, all, &config.augmentation, &config.data, config.seed, draw);
            let (loss, gradients) = self.context(phase).gradients(&batch, trainer.parameters(), step)?;
            accumulator.add(&gradients, examples)?;
            report.add(loss, share);
        }
        let gradients = accumulator
            .take()?
            .ok_or_else(|| TrainingError::argument("retriever stage", "at least one micro-batch", "none"))?;
        let update = trainer.update(&gradients, step)?;
        clamp_logit_scale(self.network.logit_scale(), phase.max_logit_scale)?;
        trainer.update_average()?;
        self.step = step;
        self.state.phase_step += 1;
        Ok((report, update))
    }

    fn context<'b>(&'b self, phase: &'b PhaseConfig) -> StepContext<'b> {
        // What one phase has changed no cached feature knows of, in this phase and all later ones.
        let changed =
            |part| self.config.phases.iter().take(self.state.phase + 1).any(|phase| phase.trains(part));
        StepContext {
            config: self.config,
            materials: &self.materials,
            network: &self.network,
            phase,
            image_live: changed(TrainedPart::ImageTrunk),
            text_live: changed(TrainedPart::TextTower),
        }
    }

    fn log_update(
        &mut self,
        phase: &PhaseConfig,
        plan: &BatchPlan,
        loss: LossReport,
        update: UpdateReport,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let epoch = self.state.phase_step as f64 / plan.steps_per_epoch() as f64;
        let record = object(json!({
            "step": self.step,
            "phase": phase.name,
            "epoch": epoch,
            "loss": loss.loss,
            "image_to_text_loss": loss.image_to_text,
            "text_to_image_loss": loss.text_to_image,
            "logit_scale": self.network.logit_scale().to_scalar::<f32>()?,
            "learning_rate": update.learning_rate,
            "gradient_norm": update.gradient_norm,
        }));
        progress.metrics(&record);
        self.metrics.append(&record)
    }

    /// Measures the averaged weights, logs, and decides whether they are the best so far and whether to stop.
    fn measure(
        &mut self,
        phase: &PhaseConfig,
        trainer: &mut Trainer,
        total: u64,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let measurement: Measurement = trainer.with_average(|| self.context(phase).measure())?;
        let value = measurement.selection(self.config.evaluation.metric);
        if self.state.best.is_none_or(|best| value > best.value) {
            self.state.best = Some(Best { step: self.step, value });
            self.state.worse = 0;
        } else {
            self.state.worse += 1;
        }
        let mut record = object(json!({"step": self.step, "phase": phase.name, "split": "validation"}));
        record.extend(measurement.metrics());
        record.insert("selection".to_owned(), json!(value));
        progress.metrics(&record);
        self.metrics.append(&record)?;
        let count = self.config.evaluation.samples;
        for sample in measurement.samples(&self.materials.corpus, self.step, count)? {
            self.samples.append(&sample)?;
        }
        let patience = self.config.evaluation.patience;
        if patience > 0 && self.state.worse >= patience && self.state.phase_step < total {
            let worse = self.state.worse;
            progress.message(&format!("stopping the phase: {worse} measurements without a better one"));
            self.state.phase_finished = true;
        }
        self.state.phase_finished |= self.state.phase_step == total;
        Ok(())
    }

    /// Saves a checkpoint and names the best one.
    fn save(&mut self, trainer: &Trainer) -> Result<()> {
        let state = serde_json::to_value(&self.state).map_err(std::io::Error::from)?;
        let mut snapshot = trainer.snapshot(self.step, state)?;
        // All variables, not just this phase's: what earlier phases trained must come back too.
        snapshot.weights = self.network.variables()?;
        let mut average: BTreeMap<_, _> = snapshot.weights.clone();
        average.extend(trainer.averaged_weights()?);
        snapshot.average = average;
        if self.state.best.is_some_and(|best| best.step == self.step) {
            // Named before it is there: should a kill come between, the next measurement names it again.
            self.checkpoints.mark_best(Some(self.step))?;
        }
        self.checkpoints.save(&snapshot)?;
        Ok(())
    }

    /// The averaged weights that a phase starts with.
    fn load_start(&mut self, start: PhaseStart) -> Result<()> {
        match start {
            PhaseStart::Best => self.load_best(),
            PhaseStart::Last => match self.checkpoints.latest()? {
                Some(snapshot) => self.network.set_variables(&snapshot.average),
                None => Ok(()),
            },
        }
    }

    /// The averaged weights of the best checkpoint, or of the last one where the best can no longer be read.
    fn load_best(&mut self) -> Result<()> {
        let best = self.state.best.map(|best| best.step);
        let snapshot = self.checkpoints.best_or_latest(best)?;
        snapshot.map_or(Ok(()), |snapshot| self.network.set_variables(&snapshot.average))
    }
}

fn trainer_config(config: &RetrieverConfig, phase: &PhaseConfig, plan: &BatchPlan) -> TrainerConfig {
    let total_steps = plan.total_steps();
    TrainerConfig {
        adamw: config.optimizer,
        clip_norm: phase.clip_norm,
        average_decay: (phase.weight_average > 0.0).then_some(phase.weight_average),
        schedule: Schedule {
            peak: phase.learning_rate,
            floor: phase.floor,
            warmup_steps: ((total_steps as f64 * phase.warmup) as u64).min(total_steps),
            total_steps,
            decay: phase.decay,
        },
    }
}
