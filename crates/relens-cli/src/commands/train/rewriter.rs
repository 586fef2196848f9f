//! `relens train denoise`, `sft`, `pro`, `ppo`, `grpo`: the stages of a rewriter.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use relens_training::stages::rewriter::{Plan, RewriterConfig, RewritingMethod};

use super::refuse_to_overwrite;
use super::retriever::show;
use crate::output::Output;
use crate::reporter::Reporter;
use crate::{interrupt, model_choice};

/// What every stage of a rewriter takes.
///
/// The run directory gets the resolved configuration, metrics.jsonl, samples.jsonl, checkpoints, and at the end the best
/// weights as a directory in Hugging Face's layout, which the next stage starts from and --enhancer takes.
#[derive(Debug, Args)]
pub(crate) struct RewriterArguments {
    /// The configuration (TOML); configs/ has examples. Relative paths in it are taken from the working directory.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,

    /// The run directory, in place of the configuration's `output`.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// The captions, in place of the configuration's.
    #[arg(long, value_name = "FILE")]
    annotations: Option<PathBuf>,

    /// Where the pictures are, in place of the configuration's.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// The retriever that learning is for, in place of the configuration's.
    #[arg(long, value_name = "NAME|DIR")]
    retriever: Option<String>,

    /// The rewriter to start from, in place of the configuration's.
    #[arg(long, value_name = "DIR")]
    start_from: Option<PathBuf>,

    /// Mined queries, in place of the configuration's; can be given more than once.
    #[arg(long, value_name = "FILE")]
    mined: Vec<PathBuf>,

    /// Go on with a run that was interrupted; start it if it has not been started.
    #[arg(long)]
    resume: bool,

    /// Print what the run will need (parameters, memory, steps, time) and train nothing.
    #[arg(long)]
    plan: bool,

    /// Print one JSON object at the end: {"model", "steps", "best_step", "metrics"}, or the plan.
    #[arg(long)]
    json: bool,
}

impl RewriterArguments {
    pub(super) fn run<M: RewritingMethod>(self) -> Result<()> {
        let mut config = RewriterConfig::<M>::read(&self.config)?;
        self.replace(&mut config)?;
        if self.plan {
            return show_plan(&config.plan()?, self.json);
        }
        // What has to be downloaded is now, with its progress; what may not be is an error before anything else.
        model_choice::directory(&config.run.retriever.model)?;
        refuse_to_overwrite(&config.run.output, self.resume)?;
        interrupt::watch();
        let summary = config
            .run(&mut Reporter::default())
            .with_context(|| format!("training into {} stopped", config.run.output.display()))?;
        show("rewriter", &summary, self.json)
    }

    /// Puts what the options name in the place of what the configuration names.
    fn replace<M: RewritingMethod>(&self, config: &mut RewriterConfig<M>) -> Result<()> {
        let replace = |path: &mut PathBuf, option: &Option<PathBuf>| {
            if let Some(option) = option {
                path.clone_from(option);
            }
        };
        replace(&mut config.run.output, &self.output);
        replace(&mut config.run.data.annotations, &self.annotations);
        replace(&mut config.run.data.images, &self.images);
        if let Some(retriever) = &self.retriever {
            config.run.retriever.model.clone_from(retriever);
        }
        match config.method.policy() {
            Some(policy) => replace(&mut policy.start_from, &self.start_from),
            None if self.start_from.is_some() => {
                bail!("--start-from: this stage makes its model from scratch")
            }
            None => {}
        }
        match config.method.candidates() {
            _ if self.mined.is_empty() => {}
            Some(candidates) => candidates.mined.clone_from(&self.mined),
            None => {
                bail!("--mined: {} has no [candidates] whose files could be replaced", self.config.display())
            }
        }
        Ok(())
    }
}

pub(super) fn show_plan(plan: &Plan, as_json: bool) -> Result<()> {
    let mut output = Output::new();
    if as_json {
        writeln!(output.writer, "{}", serde_json::to_string(plan)?)?;
    } else {
        write!(output.writer, "{plan}")?;
    }
    Ok(output.writer.flush()?)
}
