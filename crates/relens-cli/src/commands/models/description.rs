//! `relens models list` and `info`: which retrievers there are, and what is inside of them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use comfy_table::Table;
use relens::embed::retriever::{DEFAULT_MODEL, Retriever};
use relens::model_hub;
use relens::model_hub::bundled;
use relens_models::dual_encoder::architecture::weight_files;
use relens_models::image_preprocessing::RgbImage;
use serde::Serialize;

use crate::model_choice::{self, PrecisionArguments};
use crate::output::{self, Output};

/// The part of a description that `list` shows of every model.
#[derive(Debug, Serialize)]
struct ModelSummary {
    name: String,
    path: PathBuf,
    parameters: u64,
    dimensions: usize,
    bytes: u64,
}

impl ModelSummary {
    fn of(retriever: &Retriever) -> Result<Self> {
        let encoder = retriever.encoder();
        let weights = encoder.parameters().weights();
        let parameters = weights
            .names()
            .filter_map(|name| weights.shape(name))
            .map(|shape| shape.iter().map(|&size| size as u64).product::<u64>())
            .sum();
        Ok(Self {
            name: retriever.name().to_owned(),
            path: encoder.directory().to_owned(),
            parameters,
            dimensions: retriever.dim(),
            bytes: weights_bytes(encoder.directory())?,
        })
    }
}

/// Size of the weights on disk, all shards together.
pub(super) fn weights_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for file in weight_files(directory)? {
        bytes += fs_err::metadata(file)?.len();
    }
    Ok(bytes)
}

fn millions(parameters: u64) -> String {
    format!("{:.1} M", parameters as f64 / 1e6)
}

pub(super) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// List the retrievers that come with relens, or lie in the directory that RELENS_DATA names.
#[derive(Debug, Args)]
pub(crate) struct ModelListArguments {
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

impl ModelListArguments {
    pub(super) fn run(&self) -> Result<()> {
        if self.remote { self.remote() } else { self.bundled() }
    }

    fn bundled(&self) -> Result<()> {
        let summaries = bundled::model_names()
            .iter()
            .filter_map(|name| {
                // One damaged model must not hide the others.
                let summary = model_choice::open(name).and_then(|retriever| ModelSummary::of(&retriever));
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
            for ModelSummary { name, path, .. } in &summaries {
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

fn table(summaries: &[ModelSummary]) -> Table {
    let mut table = output::table(["name", "parameters", "dimensions", "size", "path"]);
    for summary in summaries {
        table.add_row([
            summary.name.clone(),
            millions(summary.parameters),
            summary.dimensions.to_string(),
            megabytes(summary.bytes),
            summary.path.display().to_string(),
        ]);
    }
    output::align_numbers(&mut table, 1..4);
    table
}

/// Timed runs, of which the median is shown; as many runs before them warm the caches up.
const TIMED_RUNS: usize = 5;
/// A query of common length.
const TIMED_TEXT: &str = "two dogs playing with a red ball on a beach";

/// Describe one retriever: size, dimensions, input, context, memory, speed on this machine, fingerprint.
///
/// The fingerprint is a hash of weights and configuration. A library remembers it and refuses other models.
#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    /// The model, by any of its names.
    #[arg(value_name = "NAME|DIR", default_value = DEFAULT_MODEL)]
    model: String,

    #[command(flatten)]
    precision: PrecisionArguments,

    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct ModelDescription {
    #[serde(flatten)]
    summary: ModelSummary,
    image_tower: String,
    image_size: usize,
    text_tower: String,
    context_length: usize,
    logit_scale: f32,
    /// Peak of this process after both towers were used; none where the system does not tell.
    memory_bytes: Option<u64>,
    image_milliseconds: f64,
    text_milliseconds: f64,
    fingerprint: String,
}

impl InfoArguments {
    pub(super) fn run(&self) -> Result<()> {
        let description = describe(&self.precision.apply(model_choice::open(&self.model)?))?;
        let mut output = Output::new();
        if self.json {
            serde_json::to_writer_pretty(&mut output.writer, &description)?;
            writeln!(output.writer)?;
            return Ok(output.writer.flush()?);
        }
        let ModelDescription { summary, image_size, context_length, .. } = &description;
        let lines = [
            ("name", summary.name.clone()),
            ("path", summary.path.display().to_string()),
            ("parameters", millions(summary.parameters)),
            ("weights", megabytes(summary.bytes)),
            ("dimensions", summary.dimensions.to_string()),
            ("image side", format!("{}, {image_size} × {image_size} pixels", description.image_tower)),
            ("text side", format!("{}, up to {context_length} tokens", description.text_tower)),
            ("logit scale", format!("{:.3}", description.logit_scale)),
            ("memory", description.memory_bytes.map_or_else(|| "unknown".to_owned(), megabytes)),
            ("one image", format!("{:.1} ms", description.image_milliseconds)),
            ("one text", format!("{:.1} ms", description.text_milliseconds)),
            ("fingerprint", description.fingerprint.clone()),
        ];
        let strong = output.style(output::strong());
        for (name, value) in lines {
            writeln!(output.writer, "{strong}{name:<12}{strong:#} {value}")?;
        }
        Ok(output.writer.flush()?)
    }
}

fn describe(retriever: &Retriever) -> Result<ModelDescription> {
    let architecture = retriever.encoder().architecture();
    let side = architecture.image.tower.image_size();
    let image = RgbImage::new(u32::try_from(side)?, u32::try_from(side)?);
    let image_milliseconds = median_milliseconds(|| {
        retriever.embed_images(std::slice::from_ref(&image))?;
        Ok(())
    })?;
    let text_milliseconds = median_milliseconds(|| {
        retriever.embed_texts(&[TIMED_TEXT])?;
        Ok(())
    })?;
    Ok(ModelDescription {
        summary: ModelSummary::of(retriever)?,
        image_tower: architecture.image.tower.to_string(),
        image_size: side,
        text_tower: architecture.text.tower.to_string(),
        context_length: architecture.text.tokenizer.context_length,
        logit_scale: retriever.logit_scale(),
        memory_bytes: peak_memory(),
        image_milliseconds,
        text_milliseconds,
        fingerprint: retriever.fingerprint().to_owned(),
    })
}

fn median_milliseconds(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for round in 0..2 * TIMED_RUNS {
        let start = Instant::now();
        run()?;
        if round >= TIMED_RUNS {
            times.push(1e3 * start.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times.get(TIMED_RUNS / 2).copied().unwrap_or(f64::NAN))
}

/// The most memory that this process has had at a time, where the kernel tells it as Linux does.
fn peak_memory() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
