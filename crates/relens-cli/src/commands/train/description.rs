//! `relens train adapter` and `relens train selection`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use relens_training::stages::description::{
    AdapterTrainingConfig, DescriptionSummary, SelectionTrainingConfig, train_adapter, train_selection,
};
use serde_json::json;

use super::refuse_to_overwrite;
use crate::interrupt;
use crate::output::{self, Output};
use crate::reporter::{Reporter, recalls};

/// Train the adapter of the enhancer `adapter` with the retriever frozen (CLIP-GPT).
///
/// The configuration (TOML) names the retriever, captioned pictures and settings; configs/ has an example. The run
/// directory gets the resolved configuration, metrics.jsonl, checkpoints, and at the end adapter.safetensors, which the
/// enhancer's setting `weights` takes.
#[derive(Debug, Args)]
pub(crate) struct AdapterArguments {
    #[command(flatten)]
    pub(super) run: DescriptionRunArguments,
}

/// Learn what each description is worth, for the enhancer `selection`, with the retriever frozen (LaBo).
///
/// As `train adapter`; what is learned is values.json, which the enhancer's setting `values` takes.
#[derive(Debug, Args)]
pub(crate) struct SelectionArguments {
    #[command(flatten)]
    pub(super) run: DescriptionRunArguments,
}

#[derive(Debug, Args)]
pub(super) struct DescriptionRunArguments {
    /// The configuration. Relative paths in it are taken from the working directory.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,

    /// The run directory, in place of the configuration's `output`.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Go on with a run that was interrupted; start it if it has not been started.
    #[arg(long)]
    resume: bool,

    /// Print one JSON object at the end: {"file", "best_epoch", "metrics"}.
    #[arg(long)]
    json: bool,
}

impl AdapterArguments {
    pub(super) fn run(self) -> Result<()> {
        let mut config = AdapterTrainingConfig::read(&self.run.config)?;
        self.run.prepare(&mut config.output)?;
        self.run.show(train_adapter(&config, &mut Reporter::default()), &config.output)
    }
}

impl SelectionArguments {
    pub(super) fn run(self) -> Result<()> {
        let mut config = SelectionTrainingConfig::read(&self.run.config)?;
        self.run.prepare(&mut config.output)?;
        self.run.show(train_selection(&config, &mut Reporter::default()), &config.output)
    }
}

impl DescriptionRunArguments {
    /// Puts the option's directory in the configuration's place and refuses one that holds a run.
    fn prepare(&self, output: &mut PathBuf) -> Result<()> {
        if let Some(directory) = &self.output {
            output.clone_from(directory);
        }
        refuse_to_overwrite(output, self.resume)?;
        interrupt::watch();
        Ok(())
    }

    fn show(&self, summary: relens_training::Result<DescriptionSummary>, directory: &Path) -> Result<()> {
        let DescriptionSummary { file, best_epoch, metrics } =
            summary.with_context(|| format!("training into {} stopped", directory.display()))?;
        let mut output = Output::new();
        if self.json {
            let file = file.to_string_lossy();
            writeln!(
                output.writer,
                "{}",
                json!({"file": file, "best_epoch": best_epoch, "metrics": metrics})
            )?;
        } else {
            let strong = output.style(output::strong());
            writeln!(
                output.writer,
                "best after epoch {best_epoch}, descriptions alone: {}",
                recalls(&metrics)
            )?;
            writeln!(output.writer, "What was learned is in {strong}{}{strong:#}", file.display())?;
        }
        Ok(output.writer.flush()?)
    }
}
