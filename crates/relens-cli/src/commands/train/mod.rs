//! `relens train`: stages that make models, run from a configuration file.

mod calibration;
mod description;
mod fine_tune;
mod gate;
mod retriever;
mod rewriter;

use std::path::Path;

use anyhow::{Result, bail};
use clap::Subcommand;
use relens_training::run::log::RunDirectory;
use relens_training::stages::denoise::DenoiseMethod;
use relens_training::stages::grpo::GrpoMethod;
use relens_training::stages::ppo::PpoMethod;
use relens_training::stages::pro::ProMethod;
use relens_training::stages::sft::SftMethod;

use calibration::CalibrationArguments;
use description::{AdapterArguments, SelectionArguments};
use fine_tune::FineTuneArguments;
use gate::GateArguments;
use retriever::RetrieverArguments;
use rewriter::RewriterArguments;

use crate::missing_step::with_missing_steps;
use crate::usage::usage_error;

/// Train models from a configuration file.
#[derive(Debug, Subcommand)]
pub(crate) enum TrainCommand {
    Retriever(RetrieverArguments),

    FineTune(FineTuneArguments),

    Adapter(AdapterArguments),

    Selection(SelectionArguments),

    /// Make a rewriter from scratch: a vocabulary, then denoising and paraphrasing captions.
    Denoise(RewriterArguments),

    /// Teach a rewriter the rewrites that the retriever likes best (supervised fine-tuning).
    Sft(RewriterArguments),

    /// Teach a rewriter to prefer rewrites in the retriever's order (preference ranking optimization).
    Pro(RewriterArguments),

    /// Let a rewriter try, and reward what the retriever likes (proximal policy optimization).
    Ppo(RewriterArguments),

    /// The same without a value network: rewrites of one query compete (group relative policy optimization).
    Grpo(RewriterArguments),

    Gate(GateArguments),

    Calibration(CalibrationArguments),

    /// Gone; what stands in scripts is told what to use.
    #[command(hide = true)]
    Soft {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

impl TrainCommand {
    pub(crate) fn run(self) -> Result<()> {
        let config = self.config().map(Path::to_owned);
        self.run_stage().map_err(|error| match config {
            Some(config) => with_missing_steps(&config, error),
            None => error,
        })
    }

    fn config(&self) -> Option<&Path> {
        Some(match self {
            Self::Retriever(arguments) => &arguments.config,
            Self::FineTune(arguments) => &arguments.config,
            Self::Adapter(arguments) => &arguments.run.config,
            Self::Selection(arguments) => &arguments.run.config,
            Self::Denoise(arguments)
            | Self::Sft(arguments)
            | Self::Pro(arguments)
            | Self::Ppo(arguments)
            | Self::Grpo(arguments) => &arguments.config,
            Self::Gate(arguments) => &arguments.config,
            Self::Calibration(arguments) => &arguments.config,
            Self::Soft { .. } => return None,
        })
    }

    fn run_stage(self) -> Result<()> {
        match self {
            Self::Retriever(arguments) => arguments.run(),
            Self::FineTune(arguments) => arguments.run(),
            Self::Adapter(arguments) => arguments.run(),
            Self::Selection(arguments) => arguments.run(),
            Self::Denoise(arguments) => arguments.run::<DenoiseMethod>(),
            Self::Sft(arguments) => arguments.run::<SftMethod>(),
            Self::Pro(arguments) => arguments.run::<ProMethod>(),
            Self::Ppo(arguments) => arguments.run::<PpoMethod>(),
            Self::Grpo(arguments) => arguments.run::<GrpoMethod>(),
            Self::Gate(arguments) => arguments.run(),
            Self::Calibration(arguments) => arguments.run(),
            Self::Soft { .. } => Err(usage_error(
                "`relens train soft` is gone, for it learned to leave queries as they are; `relens train sft` and the stages \
                 after it train a rewriter",
            )),
        }
    }
}

/// Without `--resume`, a directory that holds a run is left alone.
fn refuse_to_overwrite(output: &Path, resume: bool) -> Result<()> {
    if !resume && RunDirectory::holds_checkpoints(output) {
        bail!(
            "{}: expected an empty or new run directory, found a run; go on with it by --resume, or name another \
             directory with --output",
            output.display()
        );
    }
    Ok(())
}
