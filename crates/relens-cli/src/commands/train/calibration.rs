//! `relens train calibration`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use relens_training::stages::calibration::{CalibrationConfig, Reliability, fit};

use crate::interrupt;
use crate::output::{self, Output};
use crate::reporter::Reporter;
use relens::counted::counted;

/// Fit the estimate of whether what was found is what was asked for.
///
/// Captions of pictures that a retriever has not learned are searched for, and queries that no picture fits. What is
/// printed belongs into `[fit]` of the retriever's enhancer.toml; `search` then draws a line below which probably nothing
/// fits.
#[derive(Debug, Args)]
pub(crate) struct CalibrationArguments {
    /// The configuration (TOML): `[[sample]]` to fit on, `[measure]`, or `[fit]` with numbers to measure.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,

    /// Print one JSON object: {"fit", "fitted", "measured"}, with reliability diagrams.
    #[arg(long)]
    json: bool,
}

impl CalibrationArguments {
    pub(super) fn run(self) -> Result<()> {
        let config = CalibrationConfig::read(&self.config)?;
        interrupt::watch();
        let report = fit(&config, &mut Reporter::default())
            .with_context(|| format!("the calibration of {} stopped", self.config.display()))?;
        let mut output = Output::new();
        if self.json {
            writeln!(output.writer, "{}", serde_json::to_string(&report)?)?;
            return Ok(output.writer.flush()?);
        }
        let sections = BTreeMap::from([("fit", &report.fit)]);
        writeln!(output.writer, "{}", toml::to_string(&sections)?)?;
        for (name, reliability) in [("fitted", &report.fitted), ("measured", &report.measured)] {
            if let Some(reliability) = reliability {
                write(&mut output, name, reliability)?;
            }
        }
        Ok(output.writer.flush()?)
    }
}

fn write(output: &mut Output, name: &str, reliability: &Reliability) -> Result<()> {
    let percent = |share: f64| 100.0 * share;
    writeln!(
        output.writer,
        "{name} on {} and {} that nothing fits",
        counted(reliability.captions, "caption"),
        counted(reliability.absent, "query")
    )?;
    writeln!(
        output.writer,
        "  calibration error: {:.3}, of first hits {:.3}",
        reliability.calibration_error, reliability.first_calibration_error
    )?;
    writeln!(
        output.writer,
        "  the line stands above everything for {:.1} % of what nothing fits",
        percent(reliability.absent_refused)
    )?;
    writeln!(
        output.writer,
        "  {:.1} % of the captions have their picture among the first, {:.1} % lose it below\n  the line",
        percent(reliability.captions_found),
        percent(reliability.captions_lost)
    )?;
    let mut table = output::table(["first hits", "estimated", "found"]);
    for bin in &reliability.first_bins {
        let numbers = [bin.estimated, bin.found].map(|share| format!("{share:.3}"));
        table.add_row(std::iter::once(bin.count.to_string()).chain(numbers));
    }
    output::align_numbers(&mut table, 0..3);
    writeln!(output.writer, "{table}")?;
    Ok(())
}
