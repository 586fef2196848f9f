//! `relens compare`: enhancers side by side on one captioned dataset.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use relens::dataset::Dataset;
use relens::embeddings::Embeddings;
use relens::enhancer::reweighted::Reweighted;
use relens::enhancer::spec::{self, EnhancerContext};
use relens::enhancer::{Identity, QueryEnhancer};
use relens::evaluation::{
    BootstrapOptions, Evaluation, PairedBootstrap, Statistic, evaluate, paired_bootstrap,
};
use relens::remembering_embedder::RememberingEmbedder;
use relens::retriever::Retriever;
use serde::{Deserialize, Serialize};

use crate::commands::eval::embed_images;
use crate::library_location;
use crate::model_choice::ModelOption;
use crate::output::Output;
use crate::progress::{self, Progress};

/// What is compared: Recall@k for these k.
const RECALL_AT: [usize; 3] = [1, 5, 10];

/// Compare enhancers on a captioned dataset.
///
/// Prints a table of Recall@1, 5 and 10, text to image and image to text, each with the difference to `identity` and its
/// 95 % interval from a paired bootstrap over pictures. An asterisk marks differences whose interval leaves out 0.
///
/// The configuration names the enhancers, and for each, if wanted, the shares of the original query among which the best
/// is chosen on pictures that are kept aside.
#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// What to compare, a TOML file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// The captions.
    #[arg(long, value_name = "FILE")]
    annotations: PathBuf,

    /// Where the pictures that the annotations name are.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,

    #[command(flatten)]
    model: ModelOption,

    /// Also write everything as one JSON object.
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
}

/// The configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Comparison {
    /// The split that is measured.
    split: String,
    /// Where shares are fitted.
    fit: Option<Fit>,
    /// The rows of the table.
    row: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fit {
    /// The split that pictures are taken from.
    split: String,
    /// How many of its last pictures.
    images: usize,
    /// The shares of the original that are tried.
    shares: Vec<f32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// The row's name; default: the enhancer's.
    label: Option<String>,
    /// A name or a TOML file beside the configuration.
    enhancer: String,
    /// Whether the share of the original is fitted.
    #[serde(default)]
    fit: bool,
}

/// A row of the result.
#[derive(Debug, Serialize)]
struct Measured {
    label: String,
    /// The share that was fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f32>,
    text_to_image: Vec<Cell>,
    image_to_text: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct Cell {
    k: usize,
    recall: f64,
    difference: PairedBootstrap,
}

/// A split with its pictures embedded.
struct Embedded {
    dataset: Dataset,
    images: Embeddings,
}

impl CompareArguments {
    pub(crate) fn run(self) -> Result<()> {
        let text = fs_err::read_to_string(&self.config)?;
        let comparison: Comparison =
            toml::from_str(&text).with_context(|| format!("{} cannot be used", self.config.display()))?;
        let directory = self.config.parent().unwrap_or(Path::new("")).to_owned();
        let retriever = Arc::new(self.model.open()?);
        let dataset = Dataset::open(&self.annotations, &self.images)?;
        let measured = embedded(dataset.split(&comparison.split)?, &retriever)?;
        let aside = match &comparison.fit {
            Some(fit) => {
                let mut aside = dataset.split(&fit.split)?;
                let first = aside.images.len().saturating_sub(fit.images);
                aside.images.drain(..first);
                Some((embedded(aside, &retriever)?, fit.shares.as_slice()))
            }
            None => None,
        };
        let embedder = RememberingEmbedder::new(retriever.as_ref());
        let run = |set: &Embedded, enhancer: &dyn QueryEnhancer| {
            evaluate(&set.dataset, &set.images, &embedder, enhancer, &RECALL_AT, &|_| {})
        };
        let identity = run(&measured, &Identity)?;
        let context = EnhancerContext {
            home: library_location::home().ok(),
            embedder: Some(retriever.clone()),
            ..EnhancerContext::default()
        };
        let progress = Progress::start("enhancers", comparison.row.len() as u64);
        let mut rows = vec![row("identity", None, &identity, &identity)?];
        for (done, wanted) in (1u64..).zip(&comparison.row) {
            let enhancer = spec::open(&resolved(&directory, &wanted.enhancer), &context)?;
            let label = wanted.label.as_deref().unwrap_or(enhancer.name());
            let share = match &aside {
                Some((aside, shares)) if wanted.fit => Some(fitted(shares, |share| {
                    Ok(run(aside, &Reweighted::new(enhancer.as_ref(), share)?)?)
                })?),
                _ => None,
            };
            let evaluation = match share {
                Some(share) => run(&measured, &Reweighted::new(enhancer.as_ref(), share)?)?,
                None => run(&measured, enhancer.as_ref())?,
            };
            rows.push(row(label, share, &identity, &evaluation)?);
            progress.update(done, comparison.row.len() as u64);
        }
        progress.finish();
        progress::note(&format!("{} different texts were embedded", embedder.len()));
        if let Some(path) = &self.json {
            fs_err::write(path, serde_json::to_vec_pretty(&rows)?)?;
        }
        show(&rows)
    }
}

fn embedded(dataset: Dataset, retriever: &Retriever) -> Result<Embedded> {
    dataset.ensure_images_exist()?;
    let images = embed_images(&dataset, retriever)?;
    Ok(Embedded { dataset, images })
}

/// A TOML file is looked for beside the configuration.
fn resolved(directory: &Path, enhancer: &str) -> String {
    if enhancer.ends_with(".toml") {
        directory.join(enhancer).display().to_string()
    } else {
        enhancer.to_owned()
    }
}

/// The share with the best mean reciprocal rank of pictures, the largest of equal ones: it changes least.
fn fitted(shares: &[f32], run: impl Fn(f32) -> Result<Evaluation>) -> Result<f32> {
    let mut best: Option<(f64, f32)> = None;
    for &share in shares {
        let found = run(share)?.report.image_retrieval.mean_reciprocal_rank;
        if best.is_none_or(|(highest, at)| found > highest || found == highest && share > at) {
            best = Some((found, share));
        }
    }
    best.map(|(_, share)| share).context("`fit.shares` names no share to try")
}

fn row(label: &str, share: Option<f32>, identity: &Evaluation, found: &Evaluation) -> Result<Measured> {
    let cells = |recall: &[(usize, f64)], before: &[u32], after: &[u32], clusters: Option<&[usize]>| {
        let cell = |&(k, recall): &(usize, f64)| {
            let statistic = Statistic::RecallAt(k);
            let difference =
                paired_bootstrap(before, after, clusters, statistic, &BootstrapOptions::default())?;
            Ok(Cell { k, recall, difference })
        };
        recall.iter().map(cell).collect::<Result<Vec<Cell>>>()
    };
    let (before, after) = (&identity.ranks, &found.ranks);
    let clusters = Some(before.image_of_caption.as_slice());
    let (images, texts) = (&found.report.image_retrieval, &found.report.text_retrieval);
    Ok(Measured {
        label: label.to_owned(),
        share,
        text_to_image: cells(&images.recall, &before.text_to_image, &after.text_to_image, clusters)?,
        image_to_text: cells(&texts.recall, &before.image_to_text, &after.image_to_text, None)?,
    })
}

/// A Markdown table, fit for a lab book.
fn show(rows: &[Measured]) -> Result<()> {
    let mut output = Output::new();
    let heads = |way: &str| RECALL_AT.map(|k| format!("{way} R@{k}")).join(" | ");
    writeln!(output.writer, "| enhancer | share | {} | {} |", heads("T2I"), heads("I2T"))?;
    writeln!(output.writer, "| --- | --- | {}", "--- | ".repeat(2 * RECALL_AT.len()).trim_end())?;
    for row in rows {
        let share = row.share.map_or_else(String::new, |share| format!("{share:.2}"));
        let cells: Vec<String> = row.text_to_image.iter().chain(&row.image_to_text).map(told).collect();
        writeln!(output.writer, "| {} | {share} | {} |", row.label, cells.join(" | "))?;
    }
    Ok(output.writer.flush()?)
}

fn told(cell: &Cell) -> String {
    let PairedBootstrap { difference, lower, upper, .. } = cell.difference;
    let recall = 100.0 * cell.recall;
    if difference == 0.0 && lower == 0.0 && upper == 0.0 {
        return format!("{recall:.1}");
    }
    let mark = if lower > 0.0 || upper < 0.0 { "*" } else { "" };
    let [difference, lower, upper] = [difference, lower, upper].map(|value| 100.0 * value);
    format!("{recall:.1} ({difference:+.1}{mark} [{lower:+.1}, {upper:+.1}])")
}
