//! While a `relens mine` command works, and at its end: progress, then what was found, in a table or as JSON.

use std::io::Write;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use relens_training::mining::run::{MINED, MiningRun, REPORT};
use relens_training::mining::summary::Summary;

use super::data::DataOptions;
use crate::output::Output;
use crate::output_file::write_whole;
use crate::report;

/// Makes the run's last files and shows its numbers.
pub(super) fn finish(run: &MiningRun, data: &DataOptions, k: u32, json: bool) -> Result<()> {
    let (summary, highlights) = run.finish(k)?;
    let title = run.directory().display().to_string();
    let page = report::mining_page(&title, &summary, &highlights, data.images())?;
    write_whole(&run.directory().join(REPORT), page.as_bytes())?;
    let mut output = Output::new();
    if json {
        serde_json::to_writer(&mut output.writer, &summary)?;
        writeln!(output.writer)?;
    } else {
        show(&summary, run, &mut output)?;
    }
    Ok(output.writer.flush()?)
}

fn show(summary: &Summary, run: &MiningRun, output: &mut Output) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "strategy",
        "queries",
        "low quality",
        "turned high",
        "improved",
        "rewrites",
        "mean rank before",
        "after",
    ]);
    for (name, strategy) in &summary.strategies {
        table.add_row([
            name.clone(),
            strategy.queries.to_string(),
            strategy.low.to_string(),
            format!("{} ({:.1} %)", strategy.turned_high, 100.0 * strategy.turned_share()),
            strategy.improved.to_string(),
            strategy.rewrites.to_string(),
            format!("{:.1}", strategy.mean_rank_before()),
            format!("{:.1}", strategy.mean_rank_after()),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(output.writer, "{table}")?;
    let place = |file: &str| run.directory().join(file).display().to_string();
    writeln!(output.writer, "The records are in {}, the report is {}", place(MINED), place(REPORT))?;
    Ok(())
}
