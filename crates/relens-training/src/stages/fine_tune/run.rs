//! The loop: updates, measurements, checkpoints.

use std::path::PathBuf;
use std::sync::Arc;

use relens::embed::retriever::Retriever;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::batches::PairPlan;
use super::config::FineTuneConfig;
use super::export;
use super::network::Network;
use super::step::Workbench;
use crate::objectives::temperature::{MAX_LOGIT_SCALE, clamp_logit_scale};
use crate::reward::{EmbeddingCache, embed_pictures};
use crate::run::checkpoint::CheckpointStore;
use crate::run::log::{JsonLinesLog, RunDirectory, object};
use crate::run::trainer::{Trainer, TrainerConfig, UpdateReport};
use crate::schedule::Schedule;
use crate::stages::finished_model::{MODEL_DIRECTORY, RunSummary, finished};
use crate::stages::retriever::data::Corpus;
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Where a run is; saved in every checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct RunState {
    step: u64,
    /// Measurements since the best one.
    worse: u64,
    best: Option<Best>,
    finished: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Best {
    step: u64,
    value: f64,
    metrics: Map<String, Value>,
}

struct Run<'a> {
    bench: Workbench<'a>,
    trainer: Trainer,
    checkpoints: CheckpointStore,
    metrics: JsonLinesLog,
    samples: JsonLinesLog,
    state: RunState,
    max_logit_scale: f64,
}

/// Tunes `retriever`, or goes on with a run that was interrupted, and exports the best weights.
///
/// The start is measured as step 0 and logged; the exported weights are the best of those that were trained. A finished
/// run is left as it is and its summary returned.
///
/// # Errors
/// [`TrainingError::RunChanged`] and [`TrainingError::RunLocked`] for the run directory; data, pictures or weights that
/// cannot be read; a loss or gradient that is not finite; a full disk; [`TrainingError::Interrupted`] where `progress`
/// asked for it, with a checkpoint of where it was. The last checkpoint stays in every case.
pub fn run(
    config: &FineTuneConfig,
    retriever: &Retriever,
    progress: &mut dyn Progress,
) -> Result<RunSummary> {
    config.check()?;
    let directory = RunDirectory::open(&config.output, config)?;
    let checkpoints = CheckpointStore::open(directory.path(), config.evaluation.keep_checkpoints)?;
    let resumed = checkpoints.latest()?;
    let state =
        resumed.as_ref().map_or(Ok(RunState::default()), |snapshot| checkpoints.state_of(snapshot))?;
    if state.finished && finished(directory.path())?.is_some() {
        return Ok(summary(config, state));
    }
    let bench = prepare(config, retriever, progress)?;
    let plan = PairPlan::new(bench.corpus.training(), &config.data, &config.optimization, config.seed);
    let parameters = bench.network.parameters(config.optimization.projection_rate);
    let mut trainer = Trainer::new(trainer_config(config, plan.total_steps()), parameters)?;
    // SigLIP's temperature is beyond CLIP's limit from the start.
    let start = f64::from(retriever.logit_scale());
    if let Some(snapshot) = &resumed {
        progress.message(&format!("continuing after step {}", state.step));
        trainer.restore(snapshot, state.step)?;
        checkpoints.mark_best(state.best.as_ref().map(|best| best.step))?;
    }
    let log = |name: &str| {
        let path = directory.path().join(name);
        // What a run wrote that was killed before its first checkpoint is written again, the start's numbers too.
        if resumed.is_none() && path.exists() {
            fs_err::remove_file(path)?;
        }
        directory.log(name, state.step)
    };
    let (metrics, samples) = (log("metrics.jsonl")?, log("samples.jsonl")?);
    let max_logit_scale = MAX_LOGIT_SCALE.max(start);
    let mut run = Run { bench, trainer, checkpoints, metrics, samples, state, max_logit_scale };
    run.all_steps(resumed.is_none(), progress)?;
    run.load_best()?;
    progress.message("exporting the best weights");
    let metrics = run.state.best.as_ref().map(|best| best.metrics.clone()).unwrap_or_default();
    export::export(directory.path(), retriever.encoder(), &run.bench.network, &metrics)?;
    Ok(summary(config, run.state))
}

pub(super) fn prepare<'a>(
    config: &'a FineTuneConfig,
    retriever: &'a Retriever,
    progress: &mut dyn Progress,
) -> Result<Workbench<'a>> {
    let corpus = Arc::new(Corpus::read(&config.data)?);
    tell_rewrites(config, &corpus, progress);
    let network = Network::new(retriever.encoder(), &config.model)?;
    let frozen_pictures = if config.model.trains_images() {
        None
    } else {
        let paths: Vec<PathBuf> = corpus.pictures.iter().map(|picture| picture.path.clone()).collect();
        let cache = EmbeddingCache { directory: config.cache.clone() };
        Some(embed_pictures(retriever, &paths, &cache, progress)?)
    };
    Ok(Workbench { config, retriever, corpus, network, frozen_pictures })
}

/// How many captions can be replaced: none at all would be the baseline, whatever the probability.
fn tell_rewrites(config: &FineTuneConfig, corpus: &Corpus, progress: &mut dyn Progress) {
    let probability = config.data.rewriting_probability;
    if probability == 0.0 {
        return;
    }
    let rewrites = || corpus.training().iter().flat_map(|picture| &picture.rewrites);
    let rewritten = rewrites().filter(|rewrites| !rewrites.is_empty()).count();
    let captions = rewrites().count();
    progress.message(&format!(
        "{rewritten} of {captions} training captions have rewrites, which replace them with probability {probability}"
    ));
}

fn summary(config: &FineTuneConfig, state: RunState) -> RunSummary {
    let (best_step, metrics) = state.best.map_or((state.step, Map::new()), |best| (best.step, best.metrics));
    RunSummary { model: config.output.join(MODEL_DIRECTORY), metrics, best_step, steps: state.step }
}

fn trainer_config(config: &FineTuneConfig, total_steps: u64) -> TrainerConfig {
    let settings = &config.optimization;
    TrainerConfig {
        adamw: config.optimizer,
        clip_norm: settings.clip_norm,
        average_decay: None,
        schedule: Schedule {
            peak: settings.learning_rate,
            floor: 0.0,
            warmup_steps: settings.warmup_steps.min(total_steps / 2),
            total_steps,
            decay: settings.decay,
        },
    }
}

impl Run<'_> {
    fn all_steps(&mut self, from_the_start: bool, progress: &mut dyn Progress) -> Result<()> {
        let config = self.bench.config;
        let corpus = Arc::clone(&self.bench.corpus);
        let plan = PairPlan::new(corpus.training(), &config.data, &config.optimization, config.seed);
        let (total, per_epoch) = (plan.total_steps(), plan.steps_per_epoch().max(1));
        if from_the_start {
            self.measure(total, progress)?;
        }
        let every = match config.evaluation.every_steps {
            0 => per_epoch,
            steps => steps,
        };
        progress.begin("fine-tuning", total);
        progress.advance(self.state.step);
        while self.state.step < total && !self.state.finished {
            self.update(&plan, progress)?;
            let step = self.state.step;
            let measured = step == total || step.is_multiple_of(every);
            if measured {
                progress.end();
                self.measure(total, progress)?;
                progress.begin("fine-tuning", total);
            }
            let saved = match config.optimization.checkpoint_steps {
                0 => measured,
                steps => measured || step.is_multiple_of(steps),
            };
            let cancelled = progress.cancelled();
            if saved || cancelled {
                self.save()?;
            }
            progress.advance(step);
            if cancelled && step < total {
                return Err(TrainingError::Interrupted { step });
            }
        }
        progress.end();
        Ok(())
    }

    fn update(&mut self, plan: &PairPlan<'_>, progress: &mut dyn Progress) -> Result<()> {
        let step = self.state.step + 1;
        let batch = plan.batch(self.state.step);
        let (losses, gradients) = self.bench.gradients(&batch, self.trainer.parameters(), step)?;
        let UpdateReport { learning_rate, gradient_norm } = self.trainer.update(&gradients, step)?;
        if let Some(logit_scale) = self.bench.network.logit_scale_variable() {
            clamp_logit_scale(&logit_scale, self.max_logit_scale)?;
        }
        self.state.step = step;
        let record = object(json!({
            "step": step,
            "epoch": step as f64 / plan.steps_per_epoch().max(1) as f64,
            "loss": losses.loss,
            "image_to_text_loss": losses.image_to_text,
            "text_to_image_loss": losses.text_to_image,
            "logit_scale": self.bench.network.logit_scale().reshape(())?.to_scalar::<f32>()?,
            "learning_rate": learning_rate,
            "gradient_norm": gradient_norm,
        }));
        progress.metrics(&record);
        self.metrics.append(&record)
    }

    /// Measures, logs, and decides whether these weights are the best so far and whether to stop.
    fn measure(&mut self, total: u64, progress: &mut dyn Progress) -> Result<()> {
        let (config, step) = (self.bench.config, self.state.step);
        let measurement = self.bench.measure(progress)?;
        let value = measurement.selection(config.evaluation.metric);
        let metrics = measurement.metrics();
        let mut record = object(json!({"step": step, "split": "validation"}));
        record.extend(metrics.clone());
        record.insert("selection".to_owned(), json!(value));
        progress.metrics(&record);
        self.metrics.append(&record)?;
        for sample in measurement.samples(&self.bench.corpus, step, config.evaluation.samples)? {
            self.samples.append(&sample)?;
        }
        if step == 0 {
            return Ok(());
        }
        if self.state.best.as_ref().is_none_or(|best| value > best.value) {
            self.state.best = Some(Best { step, value, metrics });
            self.state.worse = 0;
        } else {
            self.state.worse += 1;
        }
        self.state.finished = step == total;
        let patience = config.evaluation.patience;
        if patience > 0 && !self.state.finished && self.state.worse >= patience {
            let worse = self.state.worse;
            progress.message(&format!("stopping: {worse} measurements without a better one"));
            self.state.finished = true;
        }
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        if let Some(best) = self.state.best.as_ref().filter(|best| best.step == self.state.step) {
            // Named before it is there: should a kill come between, the next measurement names it again.
            self.checkpoints.mark_best(Some(best.step))?;
        }
        let state = serde_json::to_value(&self.state).map_err(std::io::Error::from)?;
        self.checkpoints.save(&self.trainer.snapshot(self.state.step, state)?)?;
        Ok(())
    }

    /// The weights of the best checkpoint, or of the last one where the best can no longer be read.
    fn load_best(&mut self) -> Result<()> {
        let best = self.state.best.as_ref().map(|best| best.step);
        let snapshot = self.checkpoints.best_or_latest(best)?;
        snapshot.map_or(Ok(()), |snapshot| self.bench.network.set(&snapshot.weights))
    }
}
