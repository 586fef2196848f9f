//! The numbers of an evaluation, as a table or as JSON.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use relens::evaluation::{RankingMetrics, RetrievalReport};
use serde::Serialize;

use crate::output::{self, Output};
use crate::output_file::write_whole;
use crate::perturbed_captions::PerturbationEffect;
use crate::query_results::QueryResults;
use relens::counted::counted;

/// What was measured of the captions, or of one kind of query.
#[derive(Debug, Serialize)]
pub(super) struct EvaluationOutput {
    #[serde(skip)]
    pub(super) kind: Option<String>,
    /// The part of the dataset; none where all of it is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) split: Option<String>,
    /// How many pictures are left out because they cannot be read, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) skipped: Option<usize>,
    #[serde(flatten)]
    pub(super) report: RetrievalReport,
    /// What was done to the captions, if anything.
    #[serde(flatten)]
    pub(super) effect: Option<PerturbationEffect>,
    /// Every query, where that was asked for.
    #[serde(flatten)]
    pub(super) results: Option<QueryResults>,
}

/// What was measured of several kinds of query.
#[derive(Debug, Serialize)]
struct ByKind<'a> {
    model: &'a str,
    enhancer: &'a str,
    n_images: usize,
    seconds: f64,
    kinds: BTreeMap<&'a str, &'a EvaluationOutput>,
}

/// Writes one JSON object to `path`, `-` being standard output.
pub(super) fn write_json(path: &Path, measured: &[EvaluationOutput], seconds: f64) -> Result<()> {
    let Some(first) = measured.first() else { return Ok(()) };
    let mut text = Vec::new();
    if first.kind.is_some() {
        let RetrievalReport { model, enhancer, n_images, .. } = &first.report;
        let kinds = measured.iter().filter_map(|found| Some((found.kind.as_deref()?, found))).collect();
        let by_kind = ByKind { model, enhancer, n_images: *n_images, seconds, kinds };
        serde_json::to_writer_pretty(&mut text, &by_kind)?;
    } else {
        serde_json::to_writer_pretty(&mut text, first)?;
    }
    text.push(b'\n');
    if path == Path::new("-") {
        let mut output = Output::new();
        output.writer.write_all(&text)?;
        return Ok(output.writer.flush()?);
    }
    write_whole(path, &text)
}

/// Shows a table to people.
pub(super) fn show(measured: &[EvaluationOutput], seconds: f64) -> Result<()> {
    let mut output = Output::new();
    let Some(EvaluationOutput { kind, split, report, .. }) = measured.first() else { return Ok(()) };
    let RetrievalReport { n_images, model, enhancer, .. } = report;
    let count: usize = measured.iter().map(|found| found.report.n_texts).sum();
    let texts = counted(count, if kind.is_some() { "query" } else { "caption" });
    let images = counted(*n_images, "picture");
    let of = split.as_ref().map(|split| format!(" of {split}")).unwrap_or_default();
    writeln!(output.writer, "{images}{of}, {texts}, {model}, {enhancer}, {seconds:.1} s")?;
    let recalls = report.image_retrieval.recall.iter().map(|(k, _)| format!("R@{k}"));
    let ranks = ["median rank", "mean rank", "MRR"].map(str::to_owned);
    let mut table = output::table(std::iter::once(String::new()).chain(recalls).chain(ranks));
    let columns = table.column_count();
    for EvaluationOutput { kind, report, .. } in measured {
        let named = |direction: &str| match kind {
            Some(kind) => format!("{kind}, {direction}"),
            None => direction.to_owned(),
        };
        table.add_row(row(named("text → image"), &report.image_retrieval));
        if let Some(metrics) = &report.text_retrieval {
            table.add_row(row(named("image → text"), metrics));
        }
    }
    output::align_numbers(&mut table, 1..columns);
    writeln!(output.writer, "{table}")?;
    Ok(output.writer.flush()?)
}

fn row(direction: String, metrics: &RankingMetrics) -> Vec<String> {
    let recalls = metrics.recall.iter().map(|(_, recall)| format!("{:.1}", 100.0 * recall));
    let ranks = [
        format!("{:.1}", metrics.median_rank),
        format!("{:.1}", metrics.mean_rank),
        format!("{:.3}", metrics.mean_reciprocal_rank),
    ];
    std::iter::once(direction).chain(recalls).chain(ranks).collect()
}
