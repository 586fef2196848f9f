//! `relens train gate`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use relens_training::stages::gate::{GateConfig, fit};

use crate::interrupt;
use crate::output::Output;
use crate::reporter::Reporter;
use relens::counted::counted;

/// Fit a rewriter's gate: whether a rewrite is used, or how much it counts beside its query.
///
/// Queries for training pictures that the rewriter has not learned from are ranked with and without their rewrites. The
/// gate is written into the rewriter's directory, or into a copy of it (`output`), and used from then on.
#[derive(Debug, Args)]
pub(crate) struct GateArguments {
    /// The configuration (TOML): `rewriter`, `output`, `data` with `held_out`, `retriever`,
    /// `share`, `asked`, `lexicon`.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,

    /// The rewriter's directory, in place of the configuration's `rewriter`.
    #[arg(long, value_name = "DIR")]
    rewriter: Option<PathBuf>,

    /// Where the copy with the gate goes, in place of the configuration's `output`.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Print one JSON object with what was found.
    #[arg(long)]
    json: bool,
}

impl GateArguments {
    pub(super) fn run(self) -> Result<()> {
        let mut config = GateConfig::read(&self.config)?;
        if let Some(rewriter) = self.rewriter {
            config.rewriter = rewriter;
        }
        config.output = self.output.or(config.output);
        interrupt::watch();
        let report = fit(&config, &mut Reporter::default())
            .with_context(|| format!("fitting the gate of {} stopped", config.rewriter.display()))?;
        let mut output = Output::new();
        if self.json {
            writeln!(output.writer, "{}", serde_json::to_string(&report)?)?;
        } else {
            writeln!(
                output.writer,
                "{}: {} better, {} worse; area under the curve {:.3}",
                counted(report.queries, "rewrite"),
                report.better,
                report.worse,
                report.area_under_curve
            )?;
            let used = match report.sharpness {
                Some(sharpness) => format!("with shares of sharpness {sharpness}"),
                None => format!("with the {:.0} % that the gate lets through", 100.0 * report.let_through),
            };
            writeln!(
                output.writer,
                "mean reciprocal rank: {:.4} without rewrites, {:.4} with all, {:.4}\n{used}",
                report.reciprocal_rank_identity, report.reciprocal_rank_ungated, report.reciprocal_rank_gated,
            )?;
        }
        Ok(output.writer.flush()?)
    }
}
