//! `relens train`: stages that make models, run from a configuration file.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use relens_training::progress::Progress as TrainingProgress;
use relens_training::run_log::RunDirectory;
use relens_training::stages::retriever::{RetrieverConfig, RunSummary, run};
use serde_json::{Map, Value, json};

use crate::interrupt;
use crate::output::{self, Output};
use crate::progress::{self, Progress};

/// Train models from a configuration file.
#[derive(Debug, Subcommand)]
pub(crate) enum TrainCommand {
    Retriever(RetrieverArguments),
}

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
    config: PathBuf,

    /// The run directory, in place of the configuration's `output`.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Go on with a run that was interrupted; start it if it has not been started.
    #[arg(long)]
    resume: bool,

    /// Print one JSON object at the end: {"model", "steps", "best_step", "metrics"}.
    #[arg(long)]
    json: bool,
}

impl TrainCommand {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Retriever(arguments) => arguments.run(),
        }
    }
}

impl RetrieverArguments {
    fn run(self) -> Result<()> {
        let mut config = RetrieverConfig::read(&self.config)?;
        if let Some(output) = self.output {
            config.output = output;
        }
        if !self.resume && RunDirectory::holds_checkpoints(&config.output) {
            bail!(
                "{}: expected an empty or new run directory, found a run; go on with it by --resume, or name another \
                 directory with --output",
                config.output.display()
            );
        }
        interrupt::watch();
        let summary = run(&config, &mut Watch::default())
            .with_context(|| format!("training into {} stopped", config.output.display()))?;
        let mut output = Output::new();
        if self.json {
            let RunSummary { model, metrics, best_step, steps } = &summary;
            let model = model.to_string_lossy();
            let report = json!({"model": model, "steps": steps, "best_step": best_step, "metrics": metrics});
            writeln!(output.writer, "{report}")?;
        } else {
            show(&summary, &mut output)?;
        }
        Ok(output.writer.flush()?)
    }
}

fn show(summary: &RunSummary, output: &mut Output) -> Result<()> {
    let strong = output.style(output::strong());
    let RunSummary { model, metrics, best_step, steps } = summary;
    writeln!(output.writer, "{steps} steps, best after step {best_step}: {}", measured(metrics))?;
    writeln!(output.writer, "The model is in {strong}{}{strong:#}", model.display())?;
    Ok(())
}

/// Measured values as `name value`, recalls in percent.
fn measured(metrics: &Map<String, Value>) -> String {
    let recalls = metrics.iter().filter(|(name, _)| name.contains("recall@"));
    let shown = recalls.filter_map(|(name, value)| Some(format!("{name} {:.1} %", 100.0 * value.as_f64()?)));
    shown.collect::<Vec<_>>().join(", ")
}

/// Turns a run's reports into bars, log lines and notes.
#[derive(Default)]
struct Watch {
    task: Option<(Progress, u64)>,
}

impl TrainingProgress for Watch {
    fn begin(&mut self, task: &str, total: u64) {
        self.end();
        self.task = Some((Progress::start(task, total), total));
    }

    fn advance(&mut self, done: u64) {
        if let Some((progress, total)) = &self.task {
            progress.update(done, *total);
        }
    }

    fn end(&mut self) {
        if let Some((progress, _)) = self.task.take() {
            progress.finish();
        }
    }

    fn metrics(&mut self, record: &Map<String, Value>) {
        if record.contains_key("split") {
            let step = record.get("step").and_then(Value::as_u64).unwrap_or_default();
            progress::note(&format!("step {step}: {}", measured(record)));
        } else {
            // Outside the macro, which has a `Value` of its own.
            let line = Value::Object(record.clone());
            tracing::info!("{line}");
        }
    }

    fn message(&mut self, text: &str) {
        progress::note(text);
    }

    fn cancelled(&mut self) -> bool {
        interrupt::requested()
    }
}
