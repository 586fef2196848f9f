//! `relens eval`: how well captions find their pictures, and pictures their captions.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use relens::dataset::Dataset;
use relens::enhancer::EnhancedQuery;
use relens::evaluation::{RankingMetrics, RetrievalReport, evaluate};
use relens::progress::Progress;
use serde::Serialize;

use crate::enhancer_choice::EnhancerArguments;
use crate::image_embedding::embed_dataset;
use crate::model_choice::ModelArguments;
use crate::output::Output;
use crate::output_file::write_whole;
use crate::query_results::QueryResults;
use crate::reporter::Reporter;
use crate::{interrupt, model_choice};

/// Measure retrieval on a captioned dataset.
///
/// Every caption searches for its picture (text to image) and every picture for its captions (image to text). The
/// numbers are Recall@K over all captions, median and mean rank, and mean reciprocal rank; a tie with a wrong answer
/// counts against us.
///
/// The format of the annotations is recognised: Karpathy JSON, Flickr8k.token.txt, COCO captions JSON,
/// clip_benchmark CSV, MSR-VTT CSV, JSON Lines, a folder of pictures with texts beside them, webdataset tars.
#[derive(Debug, Args)]
pub(crate) struct EvalArguments {
    /// The captions: a file, or a directory of tar archives that hold pictures and captions.
    #[arg(long, value_name = "FILE|DIR")]
    annotations: PathBuf,

    /// Where the pictures or videos that the annotations name are. Default: beside the annotations.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// The part of the dataset to measure, such as val or test. Without it, the whole dataset.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,

    /// Measure on this many pictures, drawn at random, instead of all.
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    sample: Option<usize>,

    /// What the draw depends on: the same seed draws the same pictures.
    #[arg(long, value_name = "NUMBER", default_value = "0", requires = "sample")]
    sample_seed: u64,

    #[command(flatten)]
    model: ModelArguments,

    #[command(flatten)]
    enhancer: EnhancerArguments,

    /// The cut-offs K of Recall@K, separated by commas.
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_value = "1,5,10", value_parser = positive)]
    recall_k: Vec<usize>,

    /// Write the numbers to this file as one JSON object (`-`: standard output) instead of showing a table.
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,

    /// Also write every caption with its rank and what the enhancer made of it, and every picture with its rank.
    #[arg(long, requires = "json")]
    per_query: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err(format!("expected a number of at least 1, found `{text}`")),
        Ok(number) => Ok(number),
    }
}

impl EvalArguments {
    pub(crate) fn run(self) -> Result<()> {
        let start = Instant::now();
        interrupt::watch();
        let beside = self.annotations.parent().unwrap_or(Path::new(""));
        let mut dataset = Dataset::open(&self.annotations, self.images.as_deref().unwrap_or(beside))?;
        if let Some(split) = &self.split {
            dataset = dataset.split(split)?;
        }
        if let Some(count) = self.sample {
            dataset = dataset.sample(count, self.sample_seed);
        }
        dataset.ensure_images_exist()?;
        let retriever = Arc::new(self.model.open()?);
        let pipeline = self.enhancer.open(retriever.clone())?;
        let images = embed_dataset(&dataset, &retriever)?;
        let mut progress = Reporter::default();
        progress.begin("captions", dataset.caption_count() as u64);
        let (mut done, mut texts) = (0, Vec::new());
        let mut watch = |enhanced: Vec<EnhancedQuery>| {
            done += enhanced.len() as u64;
            progress.advance(done);
            if self.per_query {
                texts.extend(enhanced.into_iter().map(|query| query.texts));
            }
        };
        let evaluated =
            evaluate(&dataset, &images, retriever.as_ref(), &pipeline, &self.recall_k, &mut watch)?;
        progress.end();
        model_choice::tell_truncated(&retriever)?;
        let report = RetrievalReport { seconds: start.elapsed().as_secs_f64(), ..evaluated.report };
        let Some(path) = self.json.as_deref() else { return show(&report) };
        let mut text = Vec::new();
        if self.per_query {
            let results = QueryResults::new(&dataset, &evaluated.ranks, texts);
            let written = PerQuery { report: &report, results };
            serde_json::to_writer_pretty(&mut text, &written)?;
            text.push(b'\n');
        } else {
            report.write_json(&mut text)?;
        }
        if path == Path::new("-") {
            let mut output = Output::new();
            output.writer.write_all(&text)?;
            return Ok(output.writer.flush()?);
        }
        write_whole(path, &text)
    }
}

/// The numbers, and each query.
#[derive(Serialize)]
struct PerQuery<'a> {
    #[serde(flatten)]
    report: &'a RetrievalReport,
    #[serde(flatten)]
    results: QueryResults,
}

fn show(report: &RetrievalReport) -> Result<()> {
    let mut output = Output::new();
    let RetrievalReport { n_images, n_texts, model, enhancer, seconds, .. } = report;
    writeln!(output.writer, "{n_images} pictures, {n_texts} captions, {model}, {enhancer}, {seconds:.1} s")?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let recalls = report.image_retrieval.recall.iter().map(|(k, _)| format!("R@{k}"));
    let ranks = ["median rank", "mean rank", "MRR"].map(str::to_owned);
    table.set_header(std::iter::once(String::new()).chain(recalls).chain(ranks));
    table.add_row(row("text → image", &report.image_retrieval));
    table.add_row(row("image → text", &report.text_retrieval));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(output.writer, "{table}")?;
    Ok(output.writer.flush()?)
}

fn row(direction: &str, metrics: &RankingMetrics) -> Vec<String> {
    let recalls = metrics.recall.iter().map(|(_, recall)| format!("{:.1}", 100.0 * recall));
    let ranks = [
        format!("{:.1}", metrics.median_rank),
        format!("{:.1}", metrics.mean_rank),
        format!("{:.3}", metrics.mean_reciprocal_rank),
    ];
    std::iter::once(direction.to_owned()).chain(recalls).chain(ranks).collect()
}
