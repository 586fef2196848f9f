//! `relens train retriever`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use relens_training::stages::retriever::{RetrieverConfig, RunSummary, run};
use serde_json::json;

use super::refuse_to_overwrite;
use crate::interrupt;
use crate::output::{self, Output};
use crate::reporter::{Reporter, recalls};
use relens::counted::counted;

/// Train a retriever on captioned pictures.
///
/// The configuration (TOML) names data, towers, heads, objective, optimizer and phases; configs/ has examples. The
/// run directory gets the resolved configuration, metrics.jsonl, checkpoints, and at the end the best weights as a
/// model directory that --model takes. The same seed gives the same bytes on the same machine.
///
/// After Ctrl-C, a kill or a full disk, --resume goes on from the last checkpoint, to the same result.
#[derive(Debug, Args)]
pub(crate) struct RetrieverArguments {
    /// The configuration. Relative paths in it are taken from the working directory.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,

    /// The run directory, in place of the configuration's `output`.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// The retriever to start from, in place of the configuration's `model.start_from`.
    #[arg(long, value_name = "DIR")]
    start_from: Option<PathBuf>,

    /// Rewrites to learn from, in place of the configuration's `data.rewrites`; may be repeated.
    #[arg(long, value_name = "FILE")]
    rewrites: Vec<PathBuf>,

    /// Go on with a run that was interrupted; start it if it has not been started.
    #[arg(long)]
    resume: bool,

    /// Print one JSON object at the end: {"model", "steps", "best_step", "metrics"}.
    #[arg(long)]
    json: bool,
}

impl RetrieverArguments {
    pub(super) fn run(self) -> Result<()> {
        let mut config = RetrieverConfig::read(&self.config)?;
        if let Some(output) = self.output {
            config.output = output;
        }
        config.model.start_from = self.start_from.or(config.model.start_from);
        if !self.rewrites.is_empty() {
            config.data.rewrites = self.rewrites;
        }
        refuse_to_overwrite(&config.output, self.resume)?;
        interrupt::watch();
        let summary = run(&config, &mut Reporter::default())
            .with_context(|| format!("training into {} stopped", config.output.display()))?;
        show("model", &summary, self.json)
    }
}

/// Prints what a run has to show.
pub(super) fn show(what: &str, summary: &RunSummary, as_json: bool) -> Result<()> {
    let mut output = Output::new();
    let RunSummary { model, metrics, best_step, steps } = summary;
    if as_json {
        let model = model.to_string_lossy();
        let report = json!({"model": model, "steps": steps, "best_step": best_step, "metrics": metrics});
        writeln!(output.writer, "{report}")?;
    } else {
        let strong = output.style(output::strong());
        writeln!(
            output.writer,
            "{}, best after step {best_step}: {}",
            counted(*steps, "step"),
            recalls(metrics)
        )?;
        writeln!(output.writer, "The {what} is in {strong}{}{strong:#}", model.display())?;
    }
    Ok(output.writer.flush()?)
}
