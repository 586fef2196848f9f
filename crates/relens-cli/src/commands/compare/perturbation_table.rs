//! The table of perturbations: what each costs, what comes back, and the means.

use std::io::Write;

use anyhow::Result;
use relens::evaluation::{BootstrapOptions, Evaluation, PairedBootstrap, Statistic, paired_bootstrap};
use serde::Serialize;

use super::RECALL_AT;
use crate::output::{self, Output};
use crate::perturbed_captions::PerturbationEffect;
use relens::counted::counted;

/// The result.
#[derive(Debug, Serialize)]
pub(super) struct PerturbationTable {
    model: String,
    enhancer: String,
    seed: u64,
    n_images: usize,
    n_texts: usize,
    /// The captions as they are.
    unperturbed: Vec<UnperturbedCell>,
    perturbations: Vec<PerturbationRow>,
    mean: Vec<MeanCell>,
}

/// Recall@k of captions as they are.
#[derive(Debug, Serialize)]
struct UnperturbedCell {
    k: usize,
    as_typed: f64,
    enhanced: f64,
    /// What the enhancer gains on them.
    lift: PairedBootstrap,
}

/// What one perturbation does.
#[derive(Debug, Serialize)]
pub(super) struct PerturbationRow {
    #[serde(flatten)]
    effect: PerturbationEffect,
    n_texts: usize,
    text_to_image: Vec<PerturbationCell>,
}

/// Recall@k of captions after a perturbation.
#[derive(Debug, Serialize)]
struct PerturbationCell {
    k: usize,
    /// Of the same captions before it, as typed.
    unperturbed: f64,
    as_typed: f64,
    enhanced: f64,
    /// `as_typed` minus `unperturbed`.
    cost: PairedBootstrap,
    /// `enhanced` minus `as_typed`.
    comes_back: PairedBootstrap,
    /// The part of the cost that comes back; none where the cost may be nothing.
    share: Option<f64>,
    /// The same of the enhancer's recall: what it gains on captions as they are is not counted.
    share_beyond_lift: Option<f64>,
}

/// Means over the perturbations that cost anything.
#[derive(Debug, Serialize)]
struct MeanCell {
    k: usize,
    /// How many these are.
    perturbations: usize,
    cost: f64,
    comes_back: f64,
    /// The mean share, no perturbation counting for more than all of its cost.
    share: f64,
    share_beyond_lift: f64,
    /// Perturbations whose captions the enhancer ranks worse than as typed, the interval leaving out 0.
    worse: usize,
}

/// The ranks of captions, as typed and enhanced.
pub(super) struct BothWays {
    pub(super) as_typed: Evaluation,
    pub(super) enhanced: Evaluation,
}

impl PerturbationTable {
    /// Sums up rows; `before` are the captions as they are.
    pub(super) fn new(seed: u64, before: &BothWays, rows: Vec<PerturbationRow>) -> Result<Self> {
        let report = &before.enhanced.report;
        let cell = |k: usize| {
            let lift = difference(&before.as_typed, &before.enhanced, k)?;
            let [as_typed, enhanced] = [&before.as_typed, &before.enhanced].map(|run| recall(run, k));
            Ok(UnperturbedCell { k, as_typed, enhanced, lift })
        };
        Ok(Self {
            model: report.model.clone(),
            enhancer: report.enhancer.clone(),
            seed,
            n_images: report.n_images,
            n_texts: report.n_texts,
            unperturbed: RECALL_AT.into_iter().map(cell).collect::<Result<_>>()?,
            mean: (0..RECALL_AT.len()).filter_map(|place| MeanCell::new(place, &rows)).collect(),
            perturbations: rows,
        })
    }
}

/// Recall@k of the second run minus that of the first, whole pictures drawn.
fn difference(first: &Evaluation, second: &Evaluation, k: usize) -> Result<PairedBootstrap> {
    let clusters = Some(first.ranks.image_of_caption.as_slice());
    let (first, second) = (&first.ranks.text_to_image, &second.ranks.text_to_image);
    Ok(paired_bootstrap(first, second, clusters, Statistic::RecallAt(k), &BootstrapOptions::default())?)
}

fn recall(run: &Evaluation, k: usize) -> f64 {
    run.report.image_retrieval.recall_at(k).unwrap_or_default()
}

impl PerturbationRow {
    /// What a perturbation does: `before` and `after` are the same captions before and after it.
    pub(super) fn new(effect: PerturbationEffect, before: &BothWays, after: &BothWays) -> Result<Self> {
        let cell = |k: usize| {
            let cost = difference(&before.as_typed, &after.as_typed, k)?;
            let comes_back = difference(&after.as_typed, &after.enhanced, k)?;
            let left = recall(&before.enhanced, k) - recall(&after.enhanced, k);
            // A share of a cost that may be nothing says nothing.
            let costs = cost.upper < 0.0;
            Ok(PerturbationCell {
                k,
                unperturbed: recall(&before.as_typed, k),
                as_typed: recall(&after.as_typed, k),
                enhanced: recall(&after.enhanced, k),
                cost,
                comes_back,
                share: costs.then(|| comes_back.difference / -cost.difference),
                share_beyond_lift: costs.then(|| 1.0 - left / -cost.difference),
            })
        };
        let n_texts = after.as_typed.report.n_texts;
        let text_to_image = RECALL_AT.into_iter().map(cell).collect::<Result<_>>()?;
        Ok(Self { effect, n_texts, text_to_image })
    }
}

impl MeanCell {
    /// The means of the cells at a place of each row; `None` if nothing costs anything.
    fn new(place: usize, rows: &[PerturbationRow]) -> Option<Self> {
        let cells: Vec<&PerturbationCell> =
            rows.iter().filter_map(|row| row.text_to_image.get(place)).collect();
        let costly: Vec<&PerturbationCell> =
            cells.iter().filter(|cell| cell.share.is_some()).copied().collect();
        let mean = |of: &dyn Fn(&PerturbationCell) -> f64| {
            costly.iter().map(|cell| of(cell)).sum::<f64>() / costly.len() as f64
        };
        let k = costly.first()?.k;
        Some(Self {
            k,
            perturbations: costly.len(),
            cost: mean(&|cell| cell.cost.difference),
            comes_back: mean(&|cell| cell.comes_back.difference),
            share: mean(&|cell| cell.share.unwrap_or_default().min(1.0)),
            share_beyond_lift: mean(&|cell| cell.share_beyond_lift.unwrap_or_default().min(1.0)),
            worse: cells.iter().filter(|cell| cell.comes_back.upper < 0.0).count(),
        })
    }
}

/// Recall@1 as a Markdown table, fit for a lab book; the other cut-offs are in the JSON form.
pub(super) fn show(table: &PerturbationTable) -> Result<()> {
    let mut output = Output::new();
    let writer = &mut output.writer;
    let PerturbationTable { model, enhancer, n_images, n_texts, .. } = table;
    writeln!(
        writer,
        "{}, {}, {model}, {enhancer}, text → image\n",
        counted(*n_images, "picture"),
        counted(*n_texts, "caption")
    )?;
    let heads = ["perturbation", "changed", "R@1", "cost", "comes back", "share", "beyond lift"];
    writeln!(writer, "{}", output::markdown_heads(&heads))?;
    if let Some(UnperturbedCell { as_typed, lift, .. }) = table.unperturbed.first() {
        let (as_typed, lift) = (percent(*as_typed), interval(lift));
        writeln!(writer, "{}", output::markdown_row(&["none", "", &as_typed, "", &lift, "", ""]))?;
    }
    for PerturbationRow { effect, n_texts, text_to_image } in &table.perturbations {
        let Some(cell) = text_to_image.first() else { continue };
        let changed = 100.0 * effect.changed as f64 / (*n_texts).max(1) as f64;
        let [share, beyond] =
            [cell.share, cell.share_beyond_lift].map(|share| share.map_or("–".to_owned(), whole));
        let cells = [
            effect.perturbation.clone(),
            format!("{changed:.0} %"),
            percent(cell.as_typed),
            interval(&cell.cost),
            interval(&cell.comes_back),
            share,
            beyond,
        ];
        writeln!(writer, "{}", output::markdown_row(&cells))?;
    }
    if let Some(mean) = table.mean.first() {
        let [cost, back] = [mean.cost, mean.comes_back].map(|value| format!("{:+.1}", 100.0 * value));
        let [share, beyond] = [mean.share, mean.share_beyond_lift].map(whole);
        let what = format!("mean of {} that cost", mean.perturbations);
        writeln!(writer, "{}", output::markdown_row(&[&what, "", "", &cost, &back, &share, &beyond]))?;
        writeln!(writer, "\nMade worse than as typed: {}.", mean.worse)?;
    }
    Ok(writer.flush()?)
}

fn percent(value: f64) -> String {
    format!("{:.1}", 100.0 * value)
}

fn whole(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn interval(found: &PairedBootstrap) -> String {
    let [difference, lower, upper] = [found.difference, found.lower, found.upper].map(|value| 100.0 * value);
    format!("{difference:+.1} [{lower:+.1}, {upper:+.1}]")
}
