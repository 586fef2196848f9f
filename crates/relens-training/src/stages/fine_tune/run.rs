//! A whole retriever in the loop: pairs of a picture and a text, and the export in the model's own layout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Tensor;
use relens::embed::embedding_cache::EmbeddingCache;
use relens::embed::retriever::Retriever;
use relens::progress::Progress;
use relens_models::dual_encoder::DualEncoder;
use relens_models::dual_encoder::architecture::write_changed;
use relens_models::weights::ElementType;
use serde_json::{Map, Value, json};

use super::FineTuneConfig;
use super::network::TunedNetwork;
use super::step::PairPlan;
use super::step::Workbench;
use crate::Result;
use crate::objectives::contrastive::{MAX_LOGIT_SCALE, clamp_logit_scale};
use crate::run::finished_model::{RunSummary, publish};
use crate::run::log::object;
use crate::run::stage::{Measurement, Phase, PhaseStart, Stage, Step, StepReport};
use crate::run::trainer::{Trainer, TrainerConfig, UpdateReport};
use crate::run::training::{LoopConfig, Run, StartingWeights};
use crate::schedule::Schedule;
use crate::stages::retriever::corpus::Corpus;
use relens::counted::{by_number, counted};

/// Tunes `retriever`, or goes on with a run that was interrupted, and exports the best weights.
///
/// The start is measured as step 0 and logged; the exported weights are the best of those that were trained. A finished
/// run is left as it is and its summary returned.
///
/// # Errors
/// [`TrainingError::RunChanged`](crate::TrainingError::RunChanged),
/// [`TrainingError::RunLocked`](crate::TrainingError::RunLocked) and
/// [`TrainingError::OtherVersion`](crate::TrainingError::OtherVersion) for the run directory; data, pictures or weights
/// that cannot be read; a loss or gradient that is not finite; a full disk;
/// [`TrainingError::Interrupted`](crate::TrainingError::Interrupted) where `progress` asked for it, with a checkpoint of
/// where it was. The last checkpoint stays in every case.
pub fn run(
    config: &FineTuneConfig,
    retriever: &Retriever,
    progress: &mut dyn Progress,
) -> Result<RunSummary> {
    config.check()?;
    let run = Run::open(&config.output, config, config.evaluation.keep_checkpoints)?;
    if let Some(summary) = run.finished(1)? {
        return Ok(summary);
    }
    let bench = prepare(config, retriever, progress)?;
    // SigLIP's temperature is beyond CLIP's limit from the start.
    let max_logit_scale = MAX_LOGIT_SCALE.max(f64::from(retriever.logit_scale()));
    let mut stage = FineTuning { bench, max_logit_scale };
    let training_loop = LoopConfig {
        start: StartingWeights::Measured,
        measure_every: config.evaluation.every_steps,
        save_every: config.optimization.checkpoint_steps,
        // A step of a large batch takes minutes.
        saves_when_cancelled: true,
        patience: config.evaluation.patience,
    };
    let trained = run.train(&mut stage, training_loop, progress)?;
    progress.message("exporting the best weights");
    let metrics = trained.metrics();
    export(trained.path(), retriever.encoder(), &stage.bench.network, &metrics)?;
    Ok(trained.summary(metrics))
}

pub(super) fn prepare<'a>(
    config: &'a FineTuneConfig,
    retriever: &'a Retriever,
    progress: &mut dyn Progress,
) -> Result<Workbench<'a>> {
    let corpus = Arc::new(Corpus::read(&config.data)?);
    report_rewrites(config, &corpus, progress);
    let network = TunedNetwork::new(retriever.encoder(), &config.model)?;
    let frozen_pictures = if config.model.trains_images() {
        None
    } else {
        let paths: Vec<PathBuf> = corpus.pictures.iter().map(|picture| picture.path.clone()).collect();
        Some(EmbeddingCache::at(&config.cache).images(retriever, &paths, progress)?)
    };
    Ok(Workbench { config, retriever, corpus, network, frozen_pictures })
}

/// How many captions can be replaced: none at all would be the baseline, whatever the probability.
fn report_rewrites(config: &FineTuneConfig, corpus: &Corpus, progress: &mut dyn Progress) {
    let probability = config.data.rewriting_probability;
    if probability == 0.0 {
        return;
    }
    let rewrites = || corpus.training().iter().flat_map(|picture| &picture.rewrites);
    let rewritten = rewrites().filter(|rewrites| !rewrites.is_empty()).count();
    let captions = rewrites().count();
    let (have, them) = (by_number(&rewritten, "has", "have"), by_number(&rewritten, "it", "them"));
    let captions = counted(captions, "training caption");
    progress.message(&format!(
        "{rewritten} of {captions} {have} rewrites, which replace {them} with probability {probability}"
    ));
}

/// A dual encoder as the loop sees it.
struct FineTuning<'a> {
    bench: Workbench<'a>,
    max_logit_scale: f64,
}

impl FineTuning<'_> {
    fn plan(&self) -> PairPlan<'_> {
        let config = self.bench.config;
        PairPlan::new(self.bench.corpus.training(), &config.data, &config.optimization, config.seed)
    }
}

impl Stage for FineTuning<'_> {
    type State = ();

    const LONG_MEASUREMENTS: bool = true;

    fn begin(&mut self, _: usize) -> Result<Phase> {
        let (config, plan) = (self.bench.config, self.plan());
        let (settings, total_steps) = (&config.optimization, plan.total_steps());
        let schedule = Schedule {
            peak: settings.learning_rate,
            floor: 0.0,
            warmup_steps: settings.warmup_steps.min(total_steps / 2),
            total_steps,
            decay: settings.decay,
        };
        Ok(Phase {
            name: "fine-tuning".to_owned(),
            trainer: TrainerConfig {
                adamw: config.optimizer,
                clip_norm: settings.clip_norm,
                average_decay: None,
                schedule,
            },
            parameters: self.bench.network.parameters(settings.projection_rate),
            steps: total_steps,
            steps_per_epoch: plan.steps_per_epoch(),
            start: PhaseStart::Best,
        })
    }

    fn step(&mut self, trainer: &mut Trainer, step: Step) -> Result<StepReport> {
        let batch = self.plan().batch(step.in_phase);
        let (losses, gradients) = self.bench.gradients(&batch, trainer.parameters(), step.number)?;
        let UpdateReport { learning_rate, gradient_norm } = trainer.update(&gradients, step.number)?;
        if let Some(logit_scale) = self.bench.network.logit_scale_variable() {
            clamp_logit_scale(&logit_scale, self.max_logit_scale)?;
        }
        let metrics = object(json!({
            "loss": losses.loss,
            "image_to_text_loss": losses.image_to_text,
            "text_to_image_loss": losses.text_to_image,
            "logit_scale": self.bench.network.logit_scale().reshape(())?.to_scalar::<f32>()?,
            "learning_rate": learning_rate,
            "gradient_norm": gradient_norm,
        }));
        Ok(StepReport { metrics, ..StepReport::default() })
    }

    fn measure(&mut self, step: u64, progress: &mut dyn Progress) -> Result<Measurement> {
        self.bench.measure(progress)?.logged(&self.bench.corpus, &self.bench.config.evaluation, step)
    }

    fn set_weights(&mut self, weights: &BTreeMap<String, Tensor>) -> Result<()> {
        self.bench.network.set(weights)
    }
}

/// Writes the model in the layout of the one that was tuned, with what was trained, and opens it once.
fn export(
    run: &Path,
    start: &DualEncoder,
    network: &TunedNetwork,
    metrics: &Map<String, Value>,
) -> Result<()> {
    publish(run, |directory| {
        // f32: at rates of 1e-6 what was learned is smaller than the steps of half precision.
        write_changed(start, &network.export()?, directory, ElementType::F32)?;
        let written = DualEncoder::open(directory)?;
        written.image_encoder()?;
        written.text_encoder()?;
        Ok(metrics.clone())
    })?;
    Ok(())
}
