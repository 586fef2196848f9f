//! The page itself.

use std::path::PathBuf;

use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::charts;
use super::comparison::{Cell, Pair, RECALL_AT};
use super::curves;
use super::examples::{Change, Example, Examples, thumbnail};
use super::inputs::{Comparison, ComparisonCell, Evaluation, Inputs, Interval, TrainingRun};

const STYLE: &str = "
body{font:15px/1.5 system-ui,sans-serif;max-width:74rem;margin:2rem auto;padding:0 1rem;color:#222}
h1,h2,h3{line-height:1.2;font-weight:600}h2{margin-top:2.5rem;border-bottom:1px solid #ddd;padding-bottom:.3rem}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .7rem;text-align:right;border-bottom:1px solid #eee}
th:first-child,td:first-child{text-align:left}th{font-weight:600}.interval{color:#777;font-size:.85em;white-space:nowrap}
.better{color:#00724f}.worse{color:#b34700}figure{display:inline-block;margin:0 1rem 1rem 0}
figcaption{font-weight:600}svg{max-width:100%;height:auto}.examples{display:grid;gap:1rem;
grid-template-columns:repeat(auto-fill,minmax(22rem,1fr))}.example{display:flex;gap:.8rem;align-items:flex-start}
.example img{border-radius:4px;flex:none}.ranks{font-weight:600}ins{background:#c9f0dd;text-decoration:none}
del{background:#fbd9c6}.rewrite{color:#444;font-size:.92em}details pre{background:#f6f6f6;padding:1rem;overflow:auto}
.note{color:#777}";

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
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "relens report" }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    Ok(page.into_string())
}

fn heads(way: &str) -> Vec<String> {
    RECALL_AT.iter().map(|k| format!("{way} R@{k}")).collect()
}

fn evaluation_table(evaluations: &[Evaluation], compare: bool) -> Result<Markup> {
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
fn plain_cells(evaluation: &Evaluation) -> Vec<Cell> {
    let of = |direction: &str| {
        let recalls = evaluation.recalls(direction);
        RECALL_AT.map(|k| {
            let recall =
                recalls.iter().find(|(cut_off, _)| *cut_off == k).map_or(f64::NAN, |(_, recall)| *recall);
            Cell { recall, difference: None }
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

fn comparison_table(comparison: &Comparison) -> Markup {
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
                    td { (row.label) }
                    td { (row.share.map_or_else(String::new, |share| format!("{share:.2}"))) }
                    @for found in row.text_to_image.iter().chain(&row.image_to_text) { td { (cell(found)) } }
                }
            }
        }
    }
}

fn pairs(evaluations: &[Evaluation], images: Option<&PathBuf>) -> Result<Markup> {
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
    let chart = charts::bars(&pair.rank_changes(), 4)?;
    let kind = |title: &str, (count, shown): &(usize, Vec<Example<'_>>)| {
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

fn card(example: &Example<'_>, images: Option<&PathBuf>) -> Markup {
    let name = example.image.file_name().unwrap_or_default().to_string_lossy();
    let class = match example.after.cmp(&example.before) {
        std::cmp::Ordering::Less => "ranks better",
        std::cmp::Ordering::Equal => "ranks",
        std::cmp::Ordering::Greater => "ranks worse",
    };
    html! {
        div.example {
            @match thumbnail(example.image, images) {
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
                                Change::Kept => (piece.text),
                                Change::Added => ins { (piece.text) },
                                Change::Removed => del { (piece.text) },
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
