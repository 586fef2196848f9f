//! What a stage of training is to the loop that runs it.

use std::collections::BTreeMap;

use candle_core::Tensor;
use relens::progress::Progress;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::trainer::{Trainer, TrainerConfig};
use crate::Result;
use crate::optimizer::NamedParameter;

/// Which averaged weights a phase starts with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseStart {
    /// The best so far.
    #[default]
    Best,
    /// The last of the phase before.
    Last,
}

/// One stretch of a run with an optimizer of its own. Most stages have one.
pub(crate) struct Phase {
    /// What progress calls it.
    pub(crate) name: String,
    /// The optimizer's settings and the schedule.
    pub(crate) trainer: TrainerConfig,
    /// What is trained.
    pub(crate) parameters: Vec<NamedParameter>,
    /// Steps of the phase.
    pub(crate) steps: u64,
    /// Steps of an epoch, for the log, and between measurements if the settings do not say.
    pub(crate) steps_per_epoch: u64,
    /// What it starts with, unless it is the first.
    pub(crate) start: PhaseStart,
}

/// The place of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// In the run, counted from 1; checkpoints and logs are named by it.
    pub(crate) number: u64,
    /// In its phase, counted from 0.
    pub(crate) in_phase: u64,
}

/// What one step tells the log.
#[derive(Debug, Default)]
pub(crate) struct StepReport {
    /// A line of `metrics.jsonl`, without the step.
    pub(crate) metrics: Map<String, Value>,
    /// Lines of `samples.jsonl`, without the step.
    pub(crate) samples: Vec<Map<String, Value>>,
    /// Samples that were skipped, and why.
    pub(crate) messages: Vec<String>,
    /// Why the run should end here, if it should.
    pub(crate) stop: Option<String>,
}

/// What the weights are worth on the validation split.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measurement {
    /// What is logged, and recorded beside the finished model.
    pub(crate) metrics: Map<String, Value>,
    /// The number that checkpoints are compared by; larger is better.
    pub(crate) selection: f64,
    /// Lines of `samples.jsonl`, each with its step.
    pub(crate) samples: Vec<Map<String, Value>>,
}

/// The best measurement of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) step: u64,
    pub(crate) value: f64,
    pub(crate) metrics: Map<String, Value>,
}

/// A stage's own part of a run. [`Run::train`](super::training::Run::train) does the rest: the order of steps,
/// measurements and checkpoints, which of them is the best, when to stop, how to go on.
///
/// A step must be a function of the seed, the weights, [`Step`] and [`Stage::State`] alone: that is what makes the
/// bytes of a resumed run those of an uninterrupted one.
pub(crate) trait Stage {
    /// What must be saved beside weights and optimizer.
    type State: Clone + Default + Serialize + DeserializeOwned;

    /// Whether a measurement takes so long that it has a progress of its own.
    const LONG_MEASUREMENTS: bool = false;

    /// The number of phases.
    fn phases(&self) -> usize {
        1
    }

    /// Begins a phase, counted from 0.
    fn begin(&mut self, phase: usize) -> Result<Phase>;

    /// Does one step: at least one update of the weights by `trainer`.
    fn step(&mut self, trainer: &mut Trainer, step: Step) -> Result<StepReport>;

    /// Measures the weights as they are now, after step number `step`.
    fn measure(&mut self, step: u64, progress: &mut dyn Progress) -> Result<Measurement>;

    /// Hears of every measurement: beside the best one so far, or beside none if it is itself the best. Returns why to
    /// stop, if so.
    fn compare(&mut self, measured: &Measurement, best: Option<&Best>) -> Option<String> {
        let _ = (measured, best);
        None
    }

    /// All that any phase trains, for stages of several phases: what earlier ones have trained must come back, too.
    fn weights(&self) -> Result<Option<BTreeMap<String, Tensor>>> {
        Ok(None)
    }

    /// Puts weights of a checkpoint back.
    fn set_weights(&mut self, weights: &BTreeMap<String, Tensor>) -> Result<()>;

    /// What must be saved.
    fn state(&self) -> Self::State {
        Self::State::default()
    }

    /// Puts back what [`Stage::state`] gave.
    fn restore(&mut self, state: Self::State) {
        let _ = state;
    }
}
