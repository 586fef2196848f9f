//! The loop of every stage: steps, measurements, checkpoints, early stops, going on after an interruption.

use std::path::Path;

use relens::progress::Progress;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::checkpoint::{CheckpointStore, Snapshot};
use super::finished_model::{MODEL_DIRECTORY, RunSummary, finished};
use super::log::{JsonLinesLog, RunDirectory};
use super::stage::{Best, Measurement, Phase, PhaseStart, Stage, Step};
use super::trainer::Trainer;
use crate::{Result, TrainingError};
use relens::counted::counted;

/// When a run is measured and saved, and when it ends early.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoopConfig {
    /// What the weights before the first step count for.
    pub(crate) start: StartingWeights,
    /// Steps between measurements; 0 for once an epoch.
    pub(crate) measure_every: u64,
    /// Steps between checkpoints, besides one at every measurement; 0 for none.
    pub(crate) save_every: u64,
    /// Whether a run that is cancelled is saved at once: where steps take minutes, none should be lost.
    pub(crate) saves_when_cancelled: bool,
    /// Measurements without a better one after which a phase ends; 0 for no such end.
    pub(crate) patience: u64,
}

/// What the weights before the first step count for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartingWeights {
    /// They are not measured.
    Unmeasured,
    /// They are measured and saved: later numbers are compared with theirs.
    Measured,
    /// They may even be the best, so that a stage that only harms exports what it started from.
    MayWin,
}

/// Where a run is; saved in every checkpoint. `S` is the stage's own part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct RunState<S> {
    phase: usize,
    /// Steps done in this phase: the position in the data and in the random streams.
    phase_step: u64,
    /// Updates of the weights in this phase: the position in the schedule.
    updates: u64,
    phase_finished: bool,
    /// Measurements since the best one.
    worse: u64,
    best: Option<Best>,
    stage: S,
}

/// A run's directory and where the run is.
pub(crate) struct Run<S> {
    directory: RunDirectory,
    checkpoints: CheckpointStore,
    resumed: Option<Snapshot>,
    state: RunState<S>,
    /// Steps done in all phases.
    step: u64,
}

/// A run whose steps are done, and whose stage has its best weights.
pub(crate) struct TrainedRun {
    directory: RunDirectory,
    steps: u64,
    best: Option<Best>,
}

impl TrainedRun {
    /// The run's directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What the best weights measured.
    pub(crate) fn metrics(&self) -> Map<String, serde_json::Value> {
        self.best.as_ref().map(|best| best.metrics.clone()).unwrap_or_default()
    }

    /// The summary of a run that exported its model as one with these metrics.
    pub(crate) fn summary(&self, metrics: Map<String, serde_json::Value>) -> RunSummary {
        summary(self.path(), self.steps, self.best.as_ref(), metrics)
    }
}

fn summary(
    run: &Path,
    steps: u64,
    best: Option<&Best>,
    metrics: Map<String, serde_json::Value>,
) -> RunSummary {
    let best_step = best.map_or(steps, |best| best.step);
    RunSummary { model: run.join(MODEL_DIRECTORY), metrics, best_step, steps }
}

impl<S: Clone + Default + Serialize + DeserializeOwned> Run<S> {
    /// Creates the directory `output` for a run with these settings, or goes on with the run that is there; the last
    /// `keep` checkpoints stay.
    ///
    /// # Errors
    /// [`TrainingError::OtherVersion`] for a run of another version; [`TrainingError::RunChanged`] and
    /// [`TrainingError::RunLocked`]; [`TrainingError::NoUsableCheckpoint`] where none of several can be read.
    pub(crate) fn open(output: &Path, config: &impl Serialize, keep: usize) -> Result<Self> {
        // Before the settings are compared: those of another version may differ, too, which would be half the truth.
        CheckpointStore::refuse_other_versions(output)?;
        let directory = RunDirectory::open(output, config)?;
        let checkpoints = CheckpointStore::open(directory.path(), keep)?;
        let resumed = checkpoints.latest()?;
        let (state, step) = match &resumed {
            Some(snapshot) => (checkpoints.state_of(snapshot)?, snapshot.step),
            None => (RunState::default(), 0),
        };
        Ok(Self { directory, checkpoints, resumed, state, step })
    }

    /// The summary of a run of so many phases that has nothing left to do.
    ///
    /// # Errors
    /// The finished model's numbers cannot be read.
    pub(crate) fn finished(&self, phases: usize) -> Result<Option<RunSummary>> {
        if !self.state.phase_finished || self.state.phase + 1 < phases {
            return Ok(None);
        }
        let metrics = finished(self.directory.path())?;
        let best = self.state.best.as_ref();
        Ok(metrics.map(|metrics| summary(self.directory.path(), self.step, best, metrics)))
    }

    /// Does the steps that are left and gives `stage` the weights that measured best.
    ///
    /// # Errors
    /// Those of the stage; a selection that is not finite; a full disk; [`TrainingError::Interrupted`] where `progress`
    /// asked for it. The last checkpoint stays in every case.
    pub(crate) fn train<T: Stage<State = S>>(
        mut self,
        stage: &mut T,
        config: LoopConfig,
        progress: &mut dyn Progress,
    ) -> Result<TrainedRun> {
        let resumed = self.resumed.take();
        if let Some(snapshot) = &resumed {
            progress.message(&format!("continuing after step {}", snapshot.step));
            stage.set_weights(&snapshot.weights)?;
            stage.restore(self.state.stage.clone());
            self.checkpoints.mark_best(self.state.best.as_ref().map(|best| best.step))?;
        }
        let true_until = resumed.as_ref().map(|snapshot| snapshot.step);
        // What a killed run wrote beyond its last checkpoint is written again, byte for byte.
        let metrics = self.directory.log("metrics.jsonl", true_until)?;
        let samples = self.directory.log("samples.jsonl", true_until)?;
        let mut work = StageInProgress { run: self, stage, config, metrics, samples };
        work.phases(resumed, progress)?;
        work.load(PhaseStart::Best)?;
        let Run { directory, state, step, .. } = work.run;
        Ok(TrainedRun { directory, steps: step, best: state.best })
    }
}

/// A run while it works.
struct StageInProgress<'a, T: Stage> {
    run: Run<T::State>,
    stage: &'a mut T,
    config: LoopConfig,
    metrics: JsonLinesLog,
    samples: JsonLinesLog,
}

impl<T: Stage> StageInProgress<'_, T> {
    /// All phases from where the run is.
    fn phases(&mut self, mut resumed: Option<Snapshot>, progress: &mut dyn Progress) -> Result<()> {
        loop {
            if !self.run.state.phase_finished {
                self.phase(resumed.take().as_ref(), progress)?;
            }
            if self.run.state.phase + 1 >= self.stage.phases() {
                return Ok(());
            }
            // A checkpoint of a finished phase has an optimizer that the next phase does not go on with.
            resumed = None;
            let RunState { phase, best, stage, .. } = self.run.state.clone();
            self.run.state = RunState {
                phase: phase + 1,
                best,
                stage,
                phase_step: 0,
                updates: 0,
                worse: 0,
                phase_finished: false,
            };
        }
    }

    /// One phase, from its beginning or from a checkpoint inside it.
    fn phase(&mut self, resumed: Option<&Snapshot>, progress: &mut dyn Progress) -> Result<()> {
        let Phase { name, trainer, parameters, steps, steps_per_epoch, start } =
            self.stage.begin(self.run.state.phase)?;
        if self.run.state.phase > 0 && self.run.state.phase_step == 0 {
            // Before the trainer is made: its average begins with the weights as they are then.
            self.load(start)?;
        }
        let mut trainer = Trainer::new(trainer, parameters)?;
        if let Some(snapshot) = resumed {
            trainer.restore(snapshot, self.run.state.updates)?;
        } else if self.run.step == 0 && self.config.start != StartingWeights::Unmeasured {
            self.measure(&mut trainer, steps, progress)?;
            self.save(&trainer)?;
        }
        let length = (steps, steps_per_epoch.max(1));
        progress.begin(&name, steps);
        progress.advance(self.run.state.phase_step);
        while self.run.state.phase_step < steps && !self.run.state.phase_finished {
            let measured = self.step(&mut trainer, length, progress)?;
            if measured {
                if T::LONG_MEASUREMENTS {
                    progress.end();
                }
                self.measure(&mut trainer, steps, progress)?;
                if T::LONG_MEASUREMENTS {
                    progress.begin(&name, steps);
                }
            }
            let due = self.config.save_every > 0
                && self.run.state.phase_step.is_multiple_of(self.config.save_every);
            if measured || due {
                self.save(&trainer)?;
            }
            if self.run.state.phase_finished {
                break;
            }
            progress.advance(self.run.state.phase_step);
            if progress.cancelled() {
                if self.config.saves_when_cancelled && !(measured || due) {
                    self.save(&trainer)?;
                }
                return Err(TrainingError::Interrupted { step: self.run.step });
            }
        }
        progress.end();
        Ok(())
    }

    /// One step of a phase of (steps, steps of an epoch); returns whether a measurement is due.
    fn step(
        &mut self,
        trainer: &mut Trainer,
        (steps, per_epoch): (u64, u64),
        progress: &mut dyn Progress,
    ) -> Result<bool> {
        let step = Step { number: self.run.step + 1, in_phase: self.run.state.phase_step };
        let report = self.stage.step(trainer, step)?;
        trainer.update_average()?;
        let state = &mut self.run.state;
        self.run.step = step.number;
        state.phase_step += 1;
        state.updates = trainer.steps();
        let mut record = Map::from_iter([
            ("step".to_owned(), json!(step.number)),
            ("epoch".to_owned(), json!(state.phase_step as f64 / per_epoch as f64)),
        ]);
        record.extend(report.metrics);
        progress.metrics(&record);
        self.metrics.append(&record)?;
        for sample in report.samples {
            let mut line = Map::from_iter([("step".to_owned(), json!(step.number))]);
            line.extend(sample);
            self.samples.append(&line)?;
        }
        for message in report.messages {
            progress.message(&message);
        }
        let ends = report.stop.is_some() || state.phase_step == steps;
        if let Some(reason) = report.stop {
            progress.message(&format!("stopping at step {}: {reason}", step.number));
        }
        state.phase_finished |= ends;
        let every = if self.config.measure_every == 0 { per_epoch } else { self.config.measure_every };
        Ok(ends || state.phase_step.is_multiple_of(every))
    }

    /// Measures the averaged weights, logs, and decides whether they are the best so far and whether to stop.
    fn measure(&mut self, trainer: &mut Trainer, steps: u64, progress: &mut dyn Progress) -> Result<()> {
        let (stage, step) = (&mut *self.stage, self.run.step);
        let measured = trainer.with_average(|| stage.measure(step, progress))?;
        if !measured.selection.is_finite() {
            return Err(TrainingError::NonFiniteLoss { step, loss: measured.selection as f32 });
        }
        let mut record =
            Map::from_iter([("step".to_owned(), json!(step)), ("split".to_owned(), json!("validation"))]);
        record.extend(measured.metrics.clone());
        record.insert("selection".to_owned(), json!(measured.selection));
        progress.metrics(&record);
        self.metrics.append(&record)?;
        for sample in &measured.samples {
            self.samples.append(sample)?;
        }
        if step == 0 && self.config.start != StartingWeights::MayWin {
            return Ok(());
        }
        if let Some(reason) = self.compare(measured)
            && self.run.state.phase_step < steps
            && !self.run.state.phase_finished
        {
            progress.message(&format!("stopping at step {step}: {reason}"));
            self.run.state.phase_finished = true;
        }
        Ok(())
    }

    /// Compares a measurement with the best one; returns why to stop, if so.
    fn compare(&mut self, measured: Measurement) -> Option<String> {
        let state = &mut self.run.state;
        let Some(best) = state.best.as_ref().filter(|best| measured.selection <= best.value) else {
            let reason = self.stage.compare(&measured, None);
            let Measurement { metrics, selection, .. } = measured;
            state.best = Some(Best { step: self.run.step, value: selection, metrics });
            state.worse = 0;
            return reason;
        };
        state.worse += 1;
        let (worse, patience) = (state.worse, self.config.patience);
        self.stage.compare(&measured, Some(best)).or_else(|| {
            let without = format!(
                "{} without a better one than that of step {}",
                counted(worse, "measurement"),
                best.step
            );
            (patience > 0 && worse >= patience).then_some(without)
        })
    }

    /// Saves a checkpoint and names the best one.
    fn save(&mut self, trainer: &Trainer) -> Result<()> {
        self.run.state.stage = self.stage.state();
        let state = serde_json::to_value(&self.run.state).map_err(std::io::Error::from)?;
        let mut snapshot = trainer.snapshot(self.run.step, state)?;
        if let Some(all) = self.stage.weights()? {
            snapshot.weights = all;
        }
        if self.run.state.best.as_ref().is_some_and(|best| best.step == self.run.step) {
            // Named before it is there: should a kill come between, the next measurement names it again.
            self.run.checkpoints.mark_best(Some(self.run.step))?;
        }
        self.run.checkpoints.save(&snapshot)?;
        Ok(())
    }

    /// Gives the stage the averaged weights of the best checkpoint, or of the last one where there is no best or it can
    /// no longer be read.
    fn load(&mut self, which: PhaseStart) -> Result<()> {
        let best = self.run.state.best.as_ref().map(|best| best.step);
        let snapshot = match which {
            PhaseStart::Best => self.run.checkpoints.best_or_latest(best)?,
            PhaseStart::Last => self.run.checkpoints.latest()?,
        };
        match snapshot {
            Some(snapshot) => self.stage.set_weights(&snapshot.averaged_weights()),
            None => Ok(()),
        }
    }
}
