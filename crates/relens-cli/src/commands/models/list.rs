//! `relens models list`.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use relens::model_hub;
use relens::model_hub::bundled;
use serde::Serialize;

use super::{Summary, megabytes, millions};
use crate::model_choice;
use crate::output::{self, Output};

/// List the retrievers that come with relens, or lie in the directory that RELENS_DATA names.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// The names of open_clip that can be pulled, with their repositories, instead of what is here.
    #[arg(long)]
    remote: bool,

    /// A JSON array of {"name", "path", "parameters", "dimensions", "bytes"}, or with --remote {"name",
    /// "repository"}.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct RemoteModel {
    name: &'static str,
    repository: &'static str,
}

impl ListArguments {
    pub(super) fn run(&self) -> Result<()> {
        if self.remote { self.remote() } else { self.bundled() }
    }

    fn bundled(&self) -> Result<()> {
        let summaries = bundled::model_names()
            .iter()
            .filter_map(|name| {
                // One damaged model must not hide the others.
                let summary = model_choice::open(name).and_then(|retriever| Summary::of(&retriever));
                summary.inspect_err(|error| tracing::warn!("{error:#}")).ok()
            })
            .collect::<Vec<_>>();
        let mut output = Output::new();
        if self.json {
            serde_json::to_writer_pretty(&mut output.writer, &summaries)?;
            writeln!(output.writer)?;
        } else if output.for_people {
            writeln!(output.writer, "{}", table(&summaries))?;
        } else {
            for Summary { name, path, .. } in &summaries {
                write!(output.writer, "{name}\t")?;
                output.writer.write_all(output::path_bytes(path))?;
                writeln!(output.writer)?;
            }
        }
        Ok(output.writer.flush()?)
    }

    fn remote(&self) -> Result<()> {
        let mut output = Output::new();
        let models = model_hub::open_clip_names().map(|(name, repository)| RemoteModel { name, repository });
        if self.json {
            serde_json::to_writer_pretty(&mut output.writer, &models.collect::<Vec<_>>())?;
            writeln!(output.writer)?;
        } else {
            for RemoteModel { name, repository } in models {
                writeln!(output.writer, "{name}\t{}{repository}", model_hub::HUB_PREFIX)?;
            }
        }
        Ok(output.writer.flush()?)
    }
}

fn table(summaries: &[Summary]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["name", "parameters", "dimensions", "size", "path"]);
    for summary in summaries {
        table.add_row([
            summary.name.clone(),
            millions(summary.parameters),
            summary.dimensions.to_string(),
            megabytes(summary.bytes),
            summary.path.display().to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
