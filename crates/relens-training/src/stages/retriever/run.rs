//! A retriever in the loop: phases of heads, then towers; batches of pictures with their captions; the export.

use std::collections::BTreeMap;

use candle_core::Tensor;
use relens::progress::Progress;
use serde_json::json;

use super::assembly;
use super::batches::{BatchPlan, draw_batch};
use super::config::{PhaseConfig, RetrieverConfig, TrainedPart};
use super::network::Network;
use super::step::{LossReport, StepContext};
use super::training_data::TrainingData;
use crate::objectives::contrastive::clamp_logit_scale;
use crate::optimizer::GradientAccumulator;
use crate::run::finished_model::RunSummary;
use crate::run::log::object;
use crate::run::stage::{Measurement, Phase, Stage, Step, StepReport};
use crate::run::trainer::{Trainer, TrainerConfig};
use crate::run::training::{LoopConfig, Run, StartingWeights};
use crate::schedule::Schedule;
use crate::{Result, TrainingError};

/// Trains a retriever, or goes on with a run that was interrupted, and exports the best weights.
///
/// A finished run is left as it is and its summary returned.
///
/// # Errors
/// [`TrainingError::RunChanged`], [`TrainingError::RunLocked`] and [`TrainingError::OtherVersion`] for the run directory;
/// data, pictures or weights that cannot be read; a loss or gradient that is not finite; a full disk;
/// [`TrainingError::Interrupted`] where `progress` asked for it. The last checkpoint stays in every case.
pub fn run(config: &RetrieverConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
    run_on(config, progress, |progress| TrainingData::prepare(config, progress))
}

/// As [`run`], on data that `prepare` makes.
pub(super) fn run_on(
    config: &RetrieverConfig,
    progress: &mut dyn Progress,
    prepare: impl FnOnce(&mut dyn Progress) -> Result<TrainingData>,
) -> Result<RunSummary> {
    config.check()?;
    let evaluation = &config.evaluation;
    let run = Run::open(&config.output, config, evaluation.keep_checkpoints)?;
    if let Some(summary) = run.finished(config.phases.len())? {
        return Ok(summary);
    }
    let data = prepare(progress)?;
    let standardization = data.image_standardization.clone();
    let network = Network::new(&data.pretrained, data.weights.clone(), standardization, &config.phases)?;
    let mut stage = RetrieverStage { config, data, network, phase: 0, plan: None };
    let training_loop = LoopConfig {
        // Fresh heads know nothing.
        start: StartingWeights::Unmeasured,
        measure_every: evaluation.every_steps,
        save_every: 0,
        saves_when_cancelled: false,
        patience: evaluation.patience,
    };
    let trained = run.train(&mut stage, training_loop, progress)?;
    progress.message("exporting the best weights");
    let metrics = assembly::export(trained.path(), &stage.data, &stage.network)?;
    Ok(trained.summary(metrics))
}

/// A retriever as the loop sees it.
struct RetrieverStage<'a> {
    config: &'a RetrieverConfig,
    data: TrainingData,
    network: Network,
    /// The phase that is at work.
    phase: usize,
    plan: Option<BatchPlan>,
}

impl RetrieverStage<'_> {
    fn context(&self) -> StepContext<'_> {
        // What one phase has changed no cached feature knows of, in this phase and all later ones.
        let changed = |part| self.config.phases.iter().take(self.phase + 1).any(|phase| phase.trains(part));
        StepContext {
            config: self.config,
            data: &self.data,
            network: &self.network,
            phase: self.phase_config(),
            image_live: changed(TrainedPart::ImageTrunk),
            text_live: changed(TrainedPart::TextTower),
        }
    }

    fn phase_config(&self) -> &PhaseConfig {
        &self.config.phases[self.phase]
    }
}

impl Stage for RetrieverStage<'_> {
    type State = ();

    fn phases(&self) -> usize {
        self.config.phases.len()
    }

    fn begin(&mut self, phase: usize) -> Result<Phase> {
        self.phase = phase;
        let settings = self.phase_config();
        let pictures = self.data.corpus.training_pictures;
        let plan = BatchPlan::new(pictures, settings, phase, self.config.seed);
        let begun = Phase {
            name: format!("phase {} ({})", phase + 1, settings.name),
            trainer: trainer_config(self.config, settings, &plan),
            parameters: self.network.parameters(settings),
            steps: plan.total_steps(),
            steps_per_epoch: plan.steps_per_epoch(),
            start: settings.start,
        };
        // Nothing of it is saved: a resumed run draws the same plan from the seed, and goes on at the step it has reached.
        self.plan = Some(plan);
        Ok(begun)
    }

    /// One update, of one batch or of several whose gradients are averaged.
    fn step(&mut self, trainer: &mut Trainer, step: Step) -> Result<StepReport> {
        let missing = |what| TrainingError::argument("retriever stage", what, "none");
        let (config, phase) = (self.config, self.phase_config());
        let plan = self.plan.as_ref().ok_or_else(|| missing("a phase that has begun"))?;
        let micro_batches = plan.pictures(step.in_phase);
        let share = 1.0 / micro_batches.len() as f64;
        let mut accumulator = GradientAccumulator::default();
        let mut loss = LossReport::default();
        for (micro, pictures) in micro_batches.into_iter().enumerate() {
            let examples = pictures.len();
            // Steps of all phases count on, so that no two batches of a run share a random stream.
            let draw = step.number * phase.accumulate + micro as u64 + ((self.phase as u64) << 40);
            let all = self.data.corpus.training();
            let batch = draw_batch(pictures, all, &config.augmentation, &config.data, config.seed, draw);
            let (of_batch, gradients) =
                self.context().gradients(&batch, trainer.parameters(), step.number)?;
            accumulator.add(&gradients, examples)?;
            loss.add(of_batch, share);
        }
        let gradients = accumulator.take()?.ok_or_else(|| missing("at least one micro-batch"))?;
        let update = trainer.update(&gradients, step.number)?;
        // Before the loop takes the weights into their average, which would otherwise remember a scale beyond the limit.
        clamp_logit_scale(self.network.logit_scale(), phase.max_logit_scale)?;
        let metrics = object(json!({
            "phase": phase.name,
            "loss": loss.loss,
            "image_to_text_loss": loss.image_to_text,
            "text_to_image_loss": loss.text_to_image,
            "logit_scale": self.network.logit_scale().to_scalar::<f32>()?,
            "learning_rate": update.learning_rate,
            "gradient_norm": update.gradient_norm,
        }));
        Ok(StepReport { metrics, ..StepReport::default() })
    }

    fn measure(&mut self, step: u64, _: &mut dyn Progress) -> Result<Measurement> {
        let found = self.context().measure()?;
        let mut measured = found.logged(&self.data.corpus, &self.config.evaluation, step)?;
        measured.metrics.insert("phase".to_owned(), json!(self.phase_config().name));
        Ok(measured)
    }

    fn weights(&self) -> Result<Option<BTreeMap<String, Tensor>>> {
        Ok(Some(self.network.variables()?))
    }

    fn set_weights(&mut self, weights: &BTreeMap<String, Tensor>) -> Result<()> {
        self.network.set_variables(weights)
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
