//! What every stage does with a gradient: check, clip, schedule, update, average; and how that is saved and resumed.

use std::collections::{BTreeMap, HashMap};

use candle_core::{Tensor, Var};

use crate::optimizer::{AdamW, AdamWConfig, Gradients, NamedParameter, WeightAverage, check_and_clip};
use crate::run::checkpoint::Snapshot;
use crate::schedule::Schedule;
use crate::{Result, TrainingError};

/// Settings of a [`Trainer`].
#[derive(Debug, Clone, Copy)]
pub struct TrainerConfig {
    /// AdamW's settings.
    pub adamw: AdamWConfig,
    /// Largest global gradient norm; 0 for no limit.
    pub clip_norm: f64,
    /// Decay of the moving average of the weights; `None` for no average.
    pub average_decay: Option<f64>,
    /// The learning rate.
    pub schedule: Schedule,
}

/// What one update was like, for the log.
#[derive(Debug, Clone, Copy)]
pub struct UpdateReport {
    /// The learning rate used.
    pub learning_rate: f64,
    /// The gradient's global norm before clipping.
    pub gradient_norm: f64,
}

/// Optimizer, schedule and moving average over one set of parameters.
#[derive(Debug)]
pub struct Trainer {
    config: TrainerConfig,
    optimizer: AdamW,
    average: Option<WeightAverage>,
}

impl Trainer {
    /// A trainer at step 0.
    ///
    /// # Errors
    /// The schedule's numbers do not make sense together, or the decay of the average is not in `[0, 1)`.
    pub fn new(config: TrainerConfig, parameters: Vec<NamedParameter>) -> Result<Self> {
        let average = config.average_decay.map(|decay| WeightAverage::new(decay, &parameters)).transpose()?;
        let config = TrainerConfig { schedule: config.schedule.validated()?, ..config };
        Ok(Self { config, optimizer: AdamW::new(config.adamw, parameters)?, average })
    }

    /// The parameters, in the order in which gradients are expected.
    pub fn parameters(&self) -> &[NamedParameter] {
        self.optimizer.parameters()
    }

    /// Updates done so far.
    pub fn steps(&self) -> u64 {
        self.optimizer.steps()
    }

    /// One update. `step` is what errors call it.
    ///
    /// # Errors
    /// A gradient is not finite, or there is another number of them than of parameters.
    pub fn update(&mut self, gradients: &Gradients, step: u64) -> Result<UpdateReport> {
        let (clipped, gradient_norm) =
            check_and_clip(gradients, self.optimizer.parameters(), self.config.clip_norm, step)?;
        let learning_rate = self.config.schedule.learning_rate(self.optimizer.steps());
        self.optimizer.step(&clipped, learning_rate)?;
        Ok(UpdateReport { learning_rate, gradient_norm })
    }

    /// Takes the weights into the moving average; after whatever the stage does to them at the end of a step.
    ///
    /// # Errors
    /// The tensor library failed to read a parameter.
    pub fn update_average(&mut self) -> Result<()> {
        match &mut self.average {
            Some(average) => average.update(self.optimizer.parameters(), self.optimizer.steps()),
            None => Ok(()),
        }
    }

    /// Runs `body` with the averaged weights in place of the trained ones.
    ///
    /// # Errors
    /// `body` fails, or the tensor library failed to exchange the weights.
    pub fn with_average<R>(&mut self, body: impl FnOnce() -> Result<R>) -> Result<R> {
        let Some(average) = &mut self.average else { return body() };
        average.swap(self.optimizer.parameters())?;
        // Kept until the trained weights are back: an error of the body must not leave the averaged ones in their place.
        let result = body();
        average.swap(self.optimizer.parameters())?;
        result
    }

    /// Everything that has to be saved, with the stage's own `state`.
    ///
    /// # Errors
    /// The tensor library fails.
    pub fn snapshot(&self, step: u64, state: serde_json::Value) -> Result<Snapshot> {
        let average = match &self.average {
            Some(average) => average.state(self.parameters())?.into_iter().collect(),
            None => BTreeMap::new(),
        };
        let optimizer = self.optimizer.state()?.into_iter().collect();
        Ok(Snapshot { step, weights: self.weights()?, optimizer, average, state })
    }

    /// Puts back what [`Trainer::snapshot`] gave after `updates` updates of this trainer.
    ///
    /// # Errors
    /// A tensor of the snapshot is missing or of another shape.
    pub fn restore(&mut self, snapshot: &Snapshot, updates: u64) -> Result<()> {
        for parameter in self.optimizer.parameters() {
            set_variable(&parameter.name, &parameter.var, &snapshot.weights)?;
        }
        let by_name = |tensors: &BTreeMap<String, Tensor>| -> HashMap<String, Tensor> {
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
        };
        self.optimizer.load_state(&by_name(&snapshot.optimizer), updates)?;
        if let Some(average) = &mut self.average {
            average.load_state(&by_name(&snapshot.average), self.optimizer.parameters())?;
        }
        Ok(())
    }

    fn weights(&self) -> Result<BTreeMap<String, Tensor>> {
        self.parameters()
            .iter()
            .map(|parameter| Ok((parameter.name.clone(), parameter.var.as_detached_tensor().copy()?)))
            .collect()
    }
}

/// Sets a variable to the value of its name, in the form in which the optimizer holds it.
pub(crate) fn set_variable(name: &str, variable: &Var, values: &BTreeMap<String, Tensor>) -> Result<()> {
    match values.get(name) {
        Some(value) if value.dims() == variable.dims() => Ok(variable.set(value)?),
        other => Err(TrainingError::argument(
            "set_variable",
            format!("weight `{name}` of shape {:?}", variable.dims()),
            format!("{:?}", other.map(Tensor::dims)),
        )),
    }
}
