//! `relens compare`: enhancers side by side on one captioned dataset.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use relens::dataset::Dataset;
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::embed::memory::RememberingEmbedder;
use relens::embed::retriever::Retriever;
use relens::enhancer::open::EnhancerContext;
use relens::evaluation::{
    BootstrapOptions, Evaluation, PairedBootstrap, Statistic, evaluate, paired_bootstrap,
};
use relens::progress::Progress;
use relens::ranking::Pipeline;
use serde::{Deserialize, Serialize};

use crate::image_embedding::embed_dataset;
use crate::library_location;
use crate::model_choice::ModelArguments;
use crate::output::Output;
use crate::progress;
use crate::reporter::Reporter;

/// Recall@k is compared for these k.
const RECALL_AT: [usize; 3] = [1, 5, 10];

/// Compare enhancers on a captioned dataset.
///
/// Prints a table of Recall@1, 5 and 10, text to image and image to text, each with the difference to `identity` (or
/// to the configuration's `baseline`) and its 95 % interval from a paired bootstrap over pictures. An asterisk marks
/// differences whose interval leaves out 0.
///
/// The configuration names the enhancers or describes them in its rows, and for each, if wanted, the shares of the
/// original query among which the best is chosen on pictures that are kept aside.
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
    model: ModelArguments,

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
    /// What the differences are to; default `identity`.
    baseline: Option<RowEnhancer>,
    /// Where shares are fitted.
    fit: Option<Fit>,
    /// The rows of the table.
    row: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fit {
    /// The split, or the part of one, on which shares are fitted.
    split: String,
    /// A retriever that has not seen the split, a name or a directory, for rows with `fit = "held_out_retriever"`. One
    /// that has ranks its captions nearly by heart, and anything beside them looks worse than it is.
    model: Option<String>,
    /// The shares of the original that are tried.
    shares: Vec<f32>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "toml::Table")]
struct Row {
    /// The row's name; default: the enhancer's.
    label: Option<String>,
    /// Whether the share of the original is fitted, and with which retriever.
    fit: Option<FitWith>,
    enhancer: RowEnhancer,
}

/// What is measured.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum RowEnhancer {
    /// `enhancer = "…"`: a name or a TOML file beside the configuration.
    Named(String),
    /// What such a file would hold, in the row or baseline itself: `[[row.enhancer]]`, `[row.neighbours]` and so on.
    Inline(toml::Table),
}

impl TryFrom<toml::Table> for Row {
    type Error = toml::de::Error;

    fn try_from(mut table: toml::Table) -> Result<Self, toml::de::Error> {
        let label = table.remove("label").map(toml::Value::try_into).transpose()?;
        let fit = table.remove("fit").map(toml::Value::try_into).transpose()?;
        let enhancer = match table.get("enhancer") {
            Some(toml::Value::String(name)) if table.len() == 1 => RowEnhancer::Named(name.clone()),
            Some(toml::Value::String(name)) => {
                let expected = "expected nothing but `label` and `fit` beside";
                return Err(serde::de::Error::custom(format!("{expected} `enhancer = \"{name}\"`")));
            }
            _ => RowEnhancer::Inline(table),
        };
        Ok(Self { label, fit, enhancer })
    }
}

impl RowEnhancer {
    fn open(&self, label: Option<&str>, directory: &Path, context: &EnhancerContext) -> Result<Pipeline> {
        Ok(match self {
            Self::Named(name) => Pipeline::open(&resolved(directory, name), context)?,
            Self::Inline(table) => {
                Pipeline::open_table(table.clone(), label.unwrap_or("[[row]]"), directory, context)?
            }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FitWith {
    /// The one that `fit.model` names.
    HeldOutRetriever,
    /// The one that is measured: for enhancers with weights that were trained in its space.
    MeasuredRetriever,
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

/// A split as a retriever sees it.
struct Embedded {
    dataset: Dataset,
    images: Embeddings,
    embedder: Arc<RememberingEmbedder>,
}

/// What shares are fitted on.
struct Aside<'a> {
    fit: &'a Fit,
    held_out: Option<Embedded>,
    measured: Option<Embedded>,
}

impl CompareArguments {
    pub(crate) fn run(self) -> Result<()> {
        let text = fs_err::read_to_string(&self.config)?;
        let comparison: Comparison =
            toml::from_str(&text).with_context(|| format!("{} cannot be used", self.config.display()))?;
        let directory = self.config.parent().unwrap_or(Path::new("")).to_owned();
        let dataset = Dataset::open(&self.annotations, &self.images)?;
        let retriever = Arc::new(self.model.open()?);
        let measured = embedded(dataset.split(&comparison.split)?, &retriever)?;
        let aside = comparison.fit.as_ref().map(|fit| Aside::new(fit, &comparison.row, &dataset, &retriever));
        let aside = aside.transpose()?;
        let embedder: Arc<dyn TextEmbedder> = measured.embedder.clone();
        let context = EnhancerContext {
            home: library_location::home().ok(),
            embedder: Some(embedder),
            ..EnhancerContext::default()
        };
        let mut progress = Reporter::default();
        progress.begin("enhancers", comparison.row.len() as u64);
        let baseline = match &comparison.baseline {
            Some(baseline) => baseline.open(Some("baseline"), &directory, &context)?,
            None => Pipeline::default(),
        };
        let before = run(&measured, &baseline)?;
        let mut rows = vec![row(&baseline.name(), None, &before, &before)?];
        for (done, wanted) in (1u64..).zip(&comparison.row) {
            let label = wanted.label.as_deref();
            let mut pipeline = wanted.enhancer.open(label, &directory, &context)?;
            let name = pipeline.name();
            let label = label.unwrap_or(&name);
            pipeline.original_share = match (&aside, wanted.fit) {
                (Some(aside), Some(with)) => Some(aside.fitted(with, &mut pipeline)?),
                (None, Some(_)) => bail!("`{label}` is to be fitted, but there is no section [fit]"),
                _ => None,
            };
            let evaluation = run(&measured, &pipeline)?;
            rows.push(row(label, pipeline.original_share, &before, &evaluation)?);
            progress.advance(done);
        }
        progress.end();
        progress::note(&format!("{} different texts were embedded", measured.embedder.len()));
        if let Some(path) = &self.json {
            fs_err::write(path, serde_json::to_vec_pretty(&rows)?)?;
        }
        show(&rows)
    }
}

fn embedded(dataset: Dataset, retriever: &Arc<Retriever>) -> Result<Embedded> {
    dataset.ensure_images_exist()?;
    let images = embed_dataset(&dataset, retriever)?;
    let embedder: Arc<dyn TextEmbedder> = retriever.clone();
    Ok(Embedded { dataset, images, embedder: Arc::new(RememberingEmbedder::new(embedder)) })
}

fn run(set: &Embedded, pipeline: &Pipeline) -> Result<Evaluation> {
    Ok(evaluate(&set.dataset, &set.images, set.embedder.as_ref(), pipeline, &RECALL_AT, &mut |_| {})?)
}

impl<'a> Aside<'a> {
    /// Embeds the part that is kept aside with the retrievers that rows ask for.
    fn new(fit: &'a Fit, rows: &[Row], dataset: &Dataset, measured: &Arc<Retriever>) -> Result<Self> {
        let asked = |with: FitWith| rows.iter().any(|row| row.fit == Some(with));
        let held_out = match (asked(FitWith::HeldOutRetriever), &fit.model) {
            (false, _) => None,
            (true, None) => bail!("rows ask for `held_out_retriever`, but `fit.model` names none"),
            (true, Some(model)) => {
                Some(embedded(dataset.split(&fit.split)?, &Arc::new(Retriever::load(model)?))?)
            }
        };
        let measured = asked(FitWith::MeasuredRetriever)
            .then(|| embedded(dataset.split(&fit.split)?, measured))
            .transpose()?;
        Ok(Self { fit, held_out, measured })
    }

    fn fitted(&self, with: FitWith, pipeline: &mut Pipeline) -> Result<f32> {
        let set = match with {
            FitWith::HeldOutRetriever => self.held_out.as_ref(),
            FitWith::MeasuredRetriever => self.measured.as_ref(),
        };
        let set = set.context("the part that is kept aside was not embedded")?;
        fitted(&self.fit.shares, |share| {
            pipeline.original_share = Some(share);
            run(set, pipeline)
        })
    }
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
fn fitted(shares: &[f32], mut run: impl FnMut(f32) -> Result<Evaluation>) -> Result<f32> {
    let mut best: Option<(f64, f32)> = None;
    for &share in shares {
        let found = run(share)?.report.image_retrieval.mean_reciprocal_rank;
        if best.is_none_or(|(highest, at)| found > highest || found == highest && share > at) {
            best = Some((found, share));
        }
    }
    best.map(|(_, share)| share).context("`fit.shares` names no share to try")
}

fn row(label: &str, share: Option<f32>, baseline: &Evaluation, found: &Evaluation) -> Result<Measured> {
    let cells = |recall: &[(usize, f64)], before: &[u32], after: &[u32], clusters: Option<&[usize]>| {
        let cell = |&(k, recall): &(usize, f64)| {
            let statistic = Statistic::RecallAt(k);
            let difference =
                paired_bootstrap(before, after, clusters, statistic, &BootstrapOptions::default())?;
            Ok(Cell { k, recall, difference })
        };
        recall.iter().map(cell).collect::<Result<Vec<Cell>>>()
    };
    let (before, after) = (&baseline.ranks, &found.ranks);
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
        let cells: Vec<String> = row.text_to_image.iter().chain(&row.image_to_text).map(cell_text).collect();
        writeln!(output.writer, "| {} | {share} | {} |", row.label, cells.join(" | "))?;
    }
    Ok(output.writer.flush()?)
}

fn cell_text(cell: &Cell) -> String {
    let PairedBootstrap { difference, lower, upper, .. } = cell.difference;
    let recall = 100.0 * cell.recall;
    if difference == 0.0 && lower == 0.0 && upper == 0.0 {
        return format!("{recall:.1}");
    }
    let mark = if lower > 0.0 || upper < 0.0 { "*" } else { "" };
    let [difference, lower, upper] = [difference, lower, upper].map(|value| 100.0 * value);
    format!("{recall:.1} ({difference:+.1}{mark} [{lower:+.1}, {upper:+.1}])")
}

#[cfg(test)]
mod tests {
    use relens::ranking::pipeline_config::{self, PipelineConfig};

    use super::*;

    fn rows(text: &str) -> Result<Vec<Row>, String> {
        let text = format!("split = \"val\"\n{text}");
        toml::from_str::<Comparison>(&text).map(|found| found.row).map_err(|error| error.to_string())
    }

    #[test]
    fn a_row_names_an_enhancer_or_holds_what_its_file_would() {
        let found = rows(
            "[[row]]\nenhancer = \"concat\"\nfit = \"measured_retriever\"\n[[row]]\nlabel = \"two\"\n\
             combine = \"max_score\"\n[[row.enhancer]]\nname = \"identity\"\n[[row.enhancer]]\nname = \"arithmetic\"\n",
        )
        .unwrap();
        assert_eq!(found[0].enhancer, RowEnhancer::Named("concat".to_owned()));
        assert_eq!(found[0].fit, Some(FitWith::MeasuredRetriever));
        let open = |row: &Row| row.enhancer.open(None, Path::new(""), &EnhancerContext::default());
        assert_eq!(open(&found[1]).unwrap().name(), "identity+arithmetic");
        let refused = rows("[[row]]\nenhancer = \"concat\"\ncombine = \"max_score\"\n").unwrap_err();
        assert!(refused.contains("nothing but `label` and `fit`"), "{refused}");
        let unknown = rows("[[row]]\nmagic = 1\n").unwrap();
        assert!(open(&unknown[0]).unwrap_err().to_string().contains("unknown field `magic`"));
    }

    #[test]
    fn every_comparison_that_comes_with_relens_can_be_read() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let mut directories = vec![configs];
        let mut read = 0;
        while let Some(directory) = directories.pop() {
            for entry in fs_err::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let text = fs_err::read_to_string(&path).unwrap();
                if !text.contains("[[row]]") || path.extension().is_none_or(|extension| extension != "toml") {
                    continue;
                }
                let found: Comparison =
                    toml::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
                for described in found.row.iter().map(|row| &row.enhancer).chain(&found.baseline) {
                    match described {
                        RowEnhancer::Named(name) if name.ends_with(".toml") => {
                            assert!(path.with_file_name(name).is_file(), "{path:?}: {name}");
                        }
                        RowEnhancer::Named(name) => {
                            assert!(pipeline_config::names().contains(&name.as_str()), "{path:?}: {name}");
                        }
                        RowEnhancer::Inline(table) => {
                            let config = toml::Value::Table(table.clone()).try_into::<PipelineConfig>();
                            config.unwrap_or_else(|error| panic!("{path:?}: {error}"));
                        }
                    }
                }
                read += 1;
            }
        }
        assert!(read > 10, "found {read} comparisons");
    }
}
