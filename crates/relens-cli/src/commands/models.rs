//! `relens models`: the retrievers that come with relens, and what is inside a model directory.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use relens::bundled;
use relens::retriever::Retriever;
use relens_models::architecture::weight_files;
use serde::Serialize;

use crate::model_choice;
use crate::output::{self, Output};

/// List and describe retrievers.
///
/// A retriever is a model with an image side and a text side that end in one space. Bundled ones go by their name;
/// any other is a directory in the open_clip layout: open_clip_config.json, open_clip_model.safetensors,
/// config.json of the text side, tokenizer.json.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    List(ListArguments),
    Info(InfoArguments),
}

/// List the retrievers that come with relens, or lie in the directory that RELENS_DATA names.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// A JSON array of {"name", "path", "parameters", "dimensions", "bytes"}.
    #[arg(long)]
    json: bool,
}

/// Describe one retriever: size, dimensions, input, context, fingerprint.
///
/// The fingerprint is a hash of weights and configuration. A library remembers it and refuses other models.
#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    /// The name of a bundled model, or a model directory.
    #[arg(value_name = "NAME|DIR")]
    model: String,

    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Summary {
    name: String,
    path: PathBuf,
    parameters: u64,
    dimensions: usize,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Description {
    #[serde(flatten)]
    summary: Summary,
    image_tower: String,
    image_size: usize,
    text_tower: String,
    context_length: usize,
    logit_scale: f32,
    fingerprint: String,
}

impl ModelsCommand {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::List(arguments) => list(&arguments),
            Self::Info(arguments) => info(&arguments),
        }
    }
}

fn list(arguments: &ListArguments) -> Result<()> {
    let summaries = bundled::model_names()
        .iter()
        .filter_map(|name| {
            // One damaged model must not hide the others.
            let summary = model_choice::open(name).and_then(|retriever| summarise(&retriever));
            summary.inspect_err(|error| tracing::warn!("{error:#}")).ok()
        })
        .collect::<Vec<_>>();
    let mut output = Output::new();
    if arguments.json {
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

fn info(arguments: &InfoArguments) -> Result<()> {
    let description = describe(&model_choice::open(&arguments.model)?)?;
    let mut output = Output::new();
    if arguments.json {
        serde_json::to_writer_pretty(&mut output.writer, &description)?;
        writeln!(output.writer)?;
        return Ok(output.writer.flush()?);
    }
    let Description { summary, image_size, context_length, .. } = &description;
    let lines = [
        ("name", summary.name.clone()),
        ("path", summary.path.display().to_string()),
        ("parameters", millions(summary.parameters)),
        ("weights", megabytes(summary.bytes)),
        ("dimensions", summary.dimensions.to_string()),
        ("image side", format!("{}, {image_size} × {image_size} pixels", description.image_tower)),
        ("text side", format!("{}, up to {context_length} tokens", description.text_tower)),
        ("logit scale", format!("{:.3}", description.logit_scale)),
        ("fingerprint", description.fingerprint.clone()),
    ];
    let strong = output.style(output::strong());
    for (name, value) in lines {
        writeln!(output.writer, "{strong}{name:<12}{strong:#} {value}")?;
    }
    Ok(output.writer.flush()?)
}

fn summarise(retriever: &Retriever) -> Result<Summary> {
    let encoder = retriever.encoder();
    let weights = encoder.parameters().weights();
    let parameters = weights
        .names()
        .filter_map(|name| weights.shape(name))
        .map(|shape| shape.iter().map(|&size| size as u64).product::<u64>())
        .sum();
    Ok(Summary {
        name: retriever.name().to_owned(),
        path: encoder.directory().to_owned(),
        parameters,
        dimensions: retriever.dim(),
        bytes: weights_bytes(encoder.directory())?,
    })
}

fn describe(retriever: &Retriever) -> Result<Description> {
    let architecture = retriever.encoder().architecture();
    Ok(Description {
        summary: summarise(retriever)?,
        image_tower: architecture.image.tower.to_string(),
        image_size: architecture.image.tower.image_size(),
        text_tower: architecture.text.tower.to_string(),
        context_length: architecture.text.tokenizer.context_length,
        logit_scale: retriever.logit_scale(),
        fingerprint: retriever.fingerprint().to_owned(),
    })
}

/// Size of the weights on disk, all shards together.
fn weights_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for file in weight_files(directory)? {
        bytes += fs_err::metadata(file)?.len();
    }
    Ok(bytes)
}

fn millions(parameters: u64) -> String {
    format!("{:.1} M", parameters as f64 / 1e6)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
