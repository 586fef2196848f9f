//! `relens train fine-tune`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use relens_training::stages::fine_tune::{self, FineTuneConfig};

use super::refuse_to_overwrite;
use super::retriever::show;
use super::rewriter::show_plan;
use crate::reporter::Reporter;
use crate::{interrupt, model_choice};

/// Fine-tune a whole retriever, CLIP and its kin included, with captions replaced by their rewrites.
///
/// The configuration (TOML) names data, rewrites, the model and which of its parts are trained; configs/ has
/// an example, and the defaults are EvdCLIP's. The options below take the place of what it says, so that one
/// configuration serves many retrievers. With a rewriting probability of 0 the run is the equally trained baseline.
///
/// The run directory gets the resolved configuration, metrics.jsonl, checkpoints, and at the end model/, which --model
/// takes. After Ctrl-C, a kill or a full disk, --resume goes on from the last checkpoint, to the same result.
#[derive(Debug, Args)]
pub(crate) struct FineTuneArguments {
    /// The configuration. Relative paths in it are taken from the working directory.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,

    /// The retriever to tune: a bundled model's name, a model directory, hf-hub:ORGANISATION/NAME or MODEL/WEIGHTS.
    #[arg(long, value_name = "NAME|DIR")]
    model: Option<String>,

    /// The captions.
    #[arg(long, value_name = "FILE")]
    annotations: Option<PathBuf>,

    /// Where the pictures are.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// Rewrites of training captions; can be given more than once.
    #[arg(long, value_name = "FILE")]
    rewrites: Vec<PathBuf>,

    /// The chance that a caption is replaced by one of its rewrites.
    #[arg(long, value_name = "P")]
    rewriting_probability: Option<f64>,

    /// The run directory.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Go on with a run that was interrupted; start it if it has not been started.
    #[arg(long)]
    resume: bool,

    /// Print what the run will need (parameters, memory, steps, time) and train nothing. A model directory needs no
    /// weights for that.
    #[arg(long)]
    plan: bool,

    /// Print one JSON object at the end: {"model", "steps", "best_step", "metrics"}, or the plan.
    #[arg(long)]
    json: bool,
}

impl FineTuneArguments {
    pub(super) fn run(self) -> Result<()> {
        let config = self.settings()?;
        let start = &config.model.start_from;
        if self.plan {
            return show_plan(&fine_tune::plan(&config, &model_choice::directory(start)?)?, self.json);
        }
        refuse_to_overwrite(&config.output, self.resume)?;
        let retriever = model_choice::open(start)?;
        interrupt::watch();
        let summary = fine_tune::run(&config, &retriever, &mut Reporter::default())
            .with_context(|| format!("training into {} stopped", config.output.display()))?;
        show("model", &summary, self.json)
    }

    /// The configuration with the options in the place of what it says.
    fn settings(&self) -> Result<FineTuneConfig> {
        let mut config = FineTuneConfig::read(&self.config)?;
        let replace = |field: &mut PathBuf, option: &Option<PathBuf>| {
            if let Some(path) = option {
                field.clone_from(path);
            }
        };
        replace(&mut config.output, &self.output);
        replace(&mut config.data.annotations, &self.annotations);
        replace(&mut config.data.images, &self.images);
        if !self.rewrites.is_empty() {
            config.data.rewrites.clone_from(&self.rewrites);
        }
        if let Some(model) = &self.model {
            config.model.start_from.clone_from(model);
        }
        if let Some(probability) = self.rewriting_probability {
            config.data.rewriting_probability = probability;
        }
        config.check()?;
        Ok(config)
    }
}
