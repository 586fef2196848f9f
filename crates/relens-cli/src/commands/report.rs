//! `relens report`: runs and evaluations as one HTML page.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::output::Output;
use crate::output_file::{check_output, write_whole};
use crate::report::{self, inputs::Inputs};

/// Make one self-contained HTML page of runs and evaluations.
///
/// Takes run directories (their metrics.jsonl becomes curves), results of `relens eval --json` and tables of
/// `relens compare --json`. With --compare, every evaluation is compared with the first: differences with 95 %
/// intervals, and, where the results were written with --per-query, a histogram of rank changes and the captions that
/// were won and lost, with their pictures and rewrites.
#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Run directories, and results of `relens eval --json` and `relens compare --json`.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,

    /// Where the page is written.
    #[arg(long, value_name = "FILE.html")]
    out: PathBuf,

    /// Compare every evaluation with the first.
    #[arg(long)]
    compare: bool,

    /// Where the pictures are, if not where the results say.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
}

impl ReportArguments {
    pub(crate) fn run(self) -> Result<()> {
        check_output(
            &self.out,
            &self.runs.iter().chain(&self.images).map(PathBuf::as_path).collect::<Vec<_>>(),
        )?;
        let inputs = Inputs::read(&self.runs)?;
        let page = report::write(&inputs, self.compare, self.images.as_ref())?;
        write_whole(&self.out, page.as_bytes())?;
        let mut output = Output::new();
        writeln!(output.writer, "{}", self.out.display())?;
        Ok(output.writer.flush()?)
    }
}
