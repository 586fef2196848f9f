//! The table of a comparison.

use std::io::Write;

use anyhow::Result;
use relens::evaluation::{
    BootstrapOptions, ComparedRecall, Evaluation, PairedBootstrap, RunComparison, compare,
};
use serde::Serialize;

use super::RECALL_AT;
use crate::measured_queries::MeasuredQueries;
use crate::output::{self, Output};

/// A row of the result.
#[derive(Debug, Serialize)]
pub(super) struct ComparedRow {
    label: String,
    /// The kind of queries, where they are not the captions.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// The share that was fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f32>,
    text_to_image: Vec<ComparedRecall>,
    /// Empty where it was not measured.
    image_to_text: Vec<ComparedRecall>,
}

impl ComparedRow {
    /// What `found` is beside the baseline, both of them run on `queries`.
    pub(super) fn new(
        label: &str,
        share: Option<f32>,
        queries: &MeasuredQueries,
        baseline: &Evaluation,
        found: &Evaluation,
    ) -> Result<Self> {
        let RunComparison { text_to_image, image_to_text } =
            compare(&baseline.ranks, &found.ranks, &RECALL_AT, &BootstrapOptions::default())?;
        Ok(Self { label: label.to_owned(), kind: queries.kind.clone(), share, text_to_image, image_to_text })
    }
}

/// A Markdown table, fit for a lab book.
pub(super) fn show(rows: &[ComparedRow]) -> Result<()> {
    let mut output = Output::new();
    let by_kind = rows.iter().any(|row| row.kind.is_some());
    let both_ways = rows.iter().any(|row| !row.image_to_text.is_empty());
    let ways = if both_ways { &["T2I", "I2T"][..] } else { &["T2I"] };
    let mut heads = vec!["enhancer".to_owned(), "share".to_owned()];
    if by_kind {
        heads.insert(0, "queries".to_owned());
    }
    heads.extend(ways.iter().flat_map(|way| RECALL_AT.map(|k| format!("{way} R@{k}"))));
    writeln!(output.writer, "{}", output::markdown_heads(&heads))?;
    for row in rows {
        let share = row.share.map_or_else(String::new, |share| format!("{share:.2}"));
        let mut cells = vec![row.label.clone(), share];
        if by_kind {
            cells.insert(0, row.kind.clone().unwrap_or_else(|| "captions".to_owned()));
        }
        cells.extend(row.text_to_image.iter().chain(&row.image_to_text).map(cell_text));
        cells.resize(heads.len(), "–".to_owned());
        writeln!(output.writer, "{}", output::markdown_row(&cells))?;
    }
    Ok(output.writer.flush()?)
}

fn cell_text(cell: &ComparedRecall) -> String {
    let PairedBootstrap { difference, lower, upper, .. } = cell.difference;
    let recall = 100.0 * cell.recall;
    if difference == 0.0 && lower == 0.0 && upper == 0.0 {
        return format!("{recall:.1}");
    }
    let mark = if lower > 0.0 || upper < 0.0 { "*" } else { "" };
    let [difference, lower, upper] = [difference, lower, upper].map(|value| 100.0 * value);
    format!("{recall:.1} ({difference:+.1}{mark} [{lower:+.1}, {upper:+.1}])")
}
