//! The page of `relens report`: evaluations, comparisons, training runs.

use std::path::PathBuf;

use anyhow::Result;
use maud::{Markup, PreEscaped, html};

use super::charts::{self, Bars};
use super::comparison::{CaptionExample, Examples, PieceKind};
use super::comparison::{Pair, RECALL_AT, RecallCell, UNCHANGED};
use super::curves;
use super::document::{document, thumbnail};
use super::inputs::{ComparisonCell, ComparisonTable, Inputs, Interval, RecordedEvaluation, TrainingRun};

/// Writes the page as text. With `compare`, evaluations are compared with the first; `images` says where pictures are if
/// not where the results say.
pub(crate) fn write(inputs: &Inputs, compare: bool, images: Option<&PathBuf>) -> Result<String> {
    let body = html! {
        h1 { "relens report" }
        @if !inputs.evaluations.is_empty() {
            h2 { "Retrieval" }
            (evaluation_table(&inputs.evaluations, compare)?)
            p.note {
                "Recall in percent: a caption's picture, or a picture's caption, among the first K; a tie counts against us. "
                @if compare { "Brackets: the difference to the first row and its 95 % interval, a paired bootstrap over pictures." }
            }
        }
        @for comparison in &inputs.comparisons { (comparison_table(comparison)) }
        @if compare { (pairs(&inputs.evaluations, images)?) }
        @if !inputs.runs.is_empty() { (training(&inputs.runs)?) }
    };
    Ok(document("relens report", &body))
}

fn heads(way: &str) -> Vec<String> {
    RECALL_AT.iter().map(|k| format!("{way} R@{k}")).collect()
}

fn evaluation_table(evaluations: &[RecordedEvaluation], compare: bool) -> Result<Markup> {
    let mut rows = Vec::with_capacity(evaluations.len());
    for (number, evaluation) in evaluations.iter().enumerate() {
        let pair = match evaluations.first() {
            Some(first) if compare && number > 0 => Pair::new(first, evaluation)?,
            _ => None,
        };
        let cells = match pair {
            Some(pair) => pair.cells()?,
            None => plain_cells(evaluation),
        };
        rows.push((evaluation, cells));
    }
    Ok(html! {
        table {
            tr {
                th { "result" } th { "model" } th { "enhancer" } th { "pictures" } th { "captions" }
                @for head in heads("T2I").into_iter().chain(heads("I2T")) { th { (head) } }
                th { "T2I MRR" }
            }
            @for (evaluation, cells) in rows {
                tr {
                    td { (evaluation.label) } td { (evaluation.model) } td { (parts(&evaluation.enhancer)) }
                    td { (evaluation.n_images) } td { (evaluation.n_texts) }
                    @for cell in &cells { td { (recall(cell.recall, cell.difference)) } }
                    td { (evaluation.number("image_retrieval_mean_reciprocal_rank").map_or_else(String::new, |mrr| format!("{mrr:.3}"))) }
                }
            }
        }
    })
}

/// The name of an enhancer, which may be broken between its parts.
fn parts(name: &str) -> Markup {
    html! {
        @for (number, part) in name.split('+').enumerate() {
            @if number > 0 { wbr; "+" }
            (part)
        }
    }
}

/// The recalls that an evaluation says itself.
fn plain_cells(evaluation: &RecordedEvaluation) -> Vec<RecallCell> {
    let of = |direction: &str| {
        let recalls = evaluation.recalls(direction);
        RECALL_AT.map(|k| {
            let recall =
                recalls.iter().find(|(cut_off, _)| *cut_off == k).map_or(f64::NAN, |(_, recall)| *recall);
            RecallCell { recall, difference: None }
        })
    };
    [of("image_retrieval"), of("text_retrieval")].concat()
}

fn recall(recall: f64, difference: Option<Interval>) -> Markup {
    if !recall.is_finite() {
        return html! { "–" };
    }
    let Some(Interval { difference, lower, upper }) = difference else {
        return html! { (format!("{:.1}", 100.0 * recall)) };
    };
    let class = if lower > 0.0 {
        "better"
    } else if upper < 0.0 {
        "worse"
    } else {
        ""
    };
    let [difference, lower, upper] = [difference, lower, upper].map(|value| 100.0 * value);
    html! {
        (format!("{:.1} ", 100.0 * recall)) span class=(class) { (format!("{difference:+.1}")) }
        br; span.interval { (format!("[{lower:+.1}, {upper:+.1}]")) }
    }
}

fn comparison_table(comparison: &ComparisonTable) -> Markup {
    let cell = |cell: &ComparisonCell| {
        let same = cell.difference.lower == 0.0 && cell.difference.upper == 0.0;
        recall(cell.recall, (!same).then_some(cell.difference))
    };
    let head = |way: &str, cells: &[ComparisonCell]| -> Vec<String> {
        cells.iter().map(|cell| format!("{way} R@{}", cell.k)).collect()
    };
    let first = comparison.rows.first();
    html! {
        h2 { "Enhancers: " (comparison.label) }
        table {
            tr {
                th { "enhancer" } th { "share" }
                @if let Some(row) = first {
                    @for name in head("T2I", &row.text_to_image).into_iter().chain(head("I2T", &row.image_to_text)) { th { (name) } }
                }
            }
            @for row in &comparison.rows {
                tr {
                    td { (row.label) @if let Some(kind) = &row.kind { ", " (kind) } }
                    td { (row.share.map_or_else(String::new, |share| format!("{share:.2}"))) }
                    @for found in row.text_to_image.iter().chain(&row.image_to_text) { td { (cell(found)) } }
                }
            }
        }
    }
}

fn pairs(evaluations: &[RecordedEvaluation], images: Option<&PathBuf>) -> Result<Markup> {
    let Some((first, others)) = evaluations.split_first() else { return Ok(html! {}) };
    let mut sections = Vec::new();
    for other in others {
        sections.push(match Pair::new(first, other)? {
            Some(pair) => pair_section(&pair, images)?,
            None => html! {
                p.note { (first.label) " and " (other.label) ": write results with --per-query to see rank changes and examples." }
            },
        });
    }
    Ok(html! { @for section in sections { (section) } })
}

fn pair_section(pair: &Pair<'_>, images: Option<&PathBuf>) -> Result<Markup> {
    let examples = Examples::of(pair);
    let (names, counts): (Vec<String>, Vec<u64>) =
        pair.rank_changes().into_iter().map(|(name, count)| (name.to_owned(), count as u64)).unzip();
    let (series, unchanged) = (vec![("captions", counts)], Some(UNCHANGED));
    let chart = Bars { categories: names, series, counted: "captions", unchanged, wide: false }.svg()?;
    let kind = |title: &str, (count, shown): &(usize, Vec<CaptionExample<'_>>)| {
        html! {
            h3 { (title) ": " (count) }
            div.examples { @for example in shown { (card(example, images)) } }
        }
    };
    Ok(html! {
        h2 { (pair.before.label) " → " (pair.after.label) }
        figure {
            figcaption { "How many places captions moved (gains on the right)" }
            (PreEscaped(chart))
        }
        (kind("Won", &examples.won))
        (kind("Lost", &examples.lost))
        (kind("Rewritten, same rank", &examples.unchanged))
    })
}

fn card(example: &CaptionExample<'_>, images: Option<&PathBuf>) -> Markup {
    let name = example.image.file_name().unwrap_or_default().to_string_lossy();
    let image = match images {
        Some(images) => images.join(example.image.file_name().unwrap_or_default()),
        None => example.image.to_owned(),
    };
    let class = match example.after.cmp(&example.before) {
        std::cmp::Ordering::Less => "ranks better",
        std::cmp::Ordering::Equal => "ranks",
        std::cmp::Ordering::Greater => "ranks worse",
    };
    html! {
        div.example {
            @match thumbnail(&image) {
                Some(address) => img src=(address) alt=(name);,
                None => span.note { (name) },
            }
            div {
                div class=(class) { "rank " (example.before) " → " (example.after) }
                div { (example.query) }
                @for (weight, pieces) in &example.rewrites {
                    div.rewrite {
                        (format!("{weight:.2} · "))
                        @for piece in pieces {
                            @match piece.change {
                                PieceKind::Kept => (piece.text),
                                PieceKind::Added => ins { (piece.text) },
                                PieceKind::Removed => del { (piece.text) },
                            }
                        }
                    }
                }
            }
        }
    }
}

fn training(runs: &[TrainingRun]) -> Result<Markup> {
    let mut figures = Vec::new();
    let logged = curves::logged(runs);
    for plot in logged.plots {
        figures.push((charts::lines("step", &plot.series)?, plot.title));
    }
    let scatter = match curves::reward_and_recall(runs) {
        Some(found) => Some(charts::dots((&found.reward, &found.recall), &found.points)?),
        None => None,
    };
    Ok(html! {
        h2 { "Training" }
        @if let Some(chart) = scatter {
            figure { figcaption { "Reward beside recall; the numbers are steps" } (PreEscaped(chart)) }
        }
        @for (chart, title) in figures {
            figure { figcaption { (title) } (PreEscaped(chart)) }
        }
        @if !logged.once.is_empty() {
            h3 { "Measured once" }
            table {
                tr { th {} @for run in runs { th { (run.label) } } }
                @for (name, values) in &logged.once {
                    tr {
                        td { (name) }
                        @for value in values { td { (value.map_or_else(String::new, |value| format!("{value:.4}"))) } }
                    }
                }
            }
        }
        @for run in runs {
            @if let Some(config) = &run.config {
                details { summary { "Settings of " (run.label) } pre { (config) } }
            }
        }
    })
}
