//! `relens train soft`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use relens_training::stages::soft::{SoftConfig, SoftSummary, train_soft};
use serde_json::json;

use super::refuse_to_overwrite;
use crate::interrupt;
use crate::output::{self, Output};
use crate::reporter::{Reporter, recalls};

/// Distil what rewriting does to a query's embedding into a small network, for the enhancer `soft`.
///
/// The configuration (TOML) names the retriever, captioned pictures, candidate rewrites and settings; configs/soft.toml
/// is an example. The run directory gets the resolved configuration, metrics.jsonl, checkpoints, and at the end model/,
/// which the enhancer's setting `directory` takes.
#[derive(Debug, Args)]
pub(crate) struct SoftArguments {
    /// The configuration. Relative paths in it are taken from the working directory.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// The run directory, in place of the configuration's `output`.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Go on with a run that was interrupted; start it if it has not been started.
    #[arg(long)]
    resume: bool,

    /// Print one JSON object at the end: {"model", "best_epoch", "metrics"}.
    #[arg(long)]
    json: bool,
}

impl SoftArguments {
    pub(super) fn run(self) -> Result<()> {
        let mut config = SoftConfig::read(&self.config)?;
        if let Some(directory) = &self.output {
            config.output.clone_from(directory);
        }
        refuse_to_overwrite(&config.output, self.resume)?;
        interrupt::watch();
        let SoftSummary { model, best_epoch, metrics } = train_soft(&config, &mut Reporter::default())
            .with_context(|| format!("training into {} stopped", config.output.display()))?;
        let mut output = Output::new();
        if self.json {
            let model = model.to_string_lossy();
            let line = json!({"model": model, "best_epoch": best_epoch, "metrics": metrics});
            writeln!(output.writer, "{line}")?;
            return Ok(output.writer.flush()?);
        }
        let strong = output.style(output::strong());
        let what = if best_epoch == 0 { "no epoch beats the query itself" } else { "rewritten queries" };
        writeln!(output.writer, "best after epoch {best_epoch}, {what}: {}", recalls(&metrics))?;
        writeln!(output.writer, "The network is in {strong}{}{strong:#}", model.display())?;
        Ok(output.writer.flush()?)
    }
}
