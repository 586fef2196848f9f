//! `report.html` of a mining run: its numbers, drawn, and samples of its records.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use maud::{Markup, PreEscaped, html};
use relens_training::mining::record::{MinedQuery, MinedRewrite};
use relens_training::mining::summary::Highlights;
use relens_training::mining::summary::{StrategySummary, Summary};

use super::charts::Bars;
use super::document::{document, thumbnail};

/// Rewrites of one sample that are shown.
const REWRITES_SHOWN: usize = 4;

/// The page. `images` is the data set's directory of pictures; one that cannot be read is left out.
///
/// # Errors
/// A chart cannot be drawn.
pub(crate) fn mining_page(
    title: &str,
    summary: &Summary,
    highlights: &Highlights,
    images: &Path,
) -> Result<String> {
    let body = html! {
        h1 { "Mined rewrites: " (title) }
        p {
            "A query is of high quality if its picture is among the first " (summary.k)
            ". Ranks are counted in the pool that was mined."
        }
        (numbers(summary))
        @for (caption, chart) in charts(summary, highlights)? {
            figure { figcaption { (caption) } (PreEscaped(chart)) }
        }
        h2 { "Samples" }
        div.examples { @for mined in highlights.samples() { (sample(mined, images)) } }
    };
    Ok(document(&format!("relens mine: {title}"), &body))
}

fn numbers(summary: &Summary) -> Markup {
    html! {
        table {
            tr {
                th { "strategy" } th { "queries" } th { "low quality" } th { "turned high" } th { "improved" }
                th { "rewrites" } th { "mean rank before" } th { "after" } th { "mean 1/rank before" } th { "after" }
            }
            @for (name, strategy) in &summary.strategies {
                @let StrategySummary { queries, low, turned_high, improved, rewrites, .. } = strategy;
                @let mean = |sum: f64| format!("{:.3}", sum / (*low).max(1) as f64);
                tr {
                    td { (name) } td { (queries) } td { (low) }
                    td { (turned_high) (format!(" ({:.1} %)", 100.0 * strategy.turned_share())) }
                    td { (improved) } td { (rewrites) }
                    td { (format!("{:.1}", strategy.mean_rank_before())) }
                    td { (format!("{:.1}", strategy.mean_rank_after())) }
                    td { (mean(strategy.reciprocal_before)) } td { (mean(strategy.reciprocal_after)) }
                }
            }
        }
    }
}

/// The charts with their captions.
fn charts(summary: &Summary, highlights: &Highlights) -> Result<Vec<(&'static str, String)>> {
    let ranks = highlights.ranks();
    let before = ranks.iter().map(|bin| bin.before).collect();
    let after = ranks.iter().map(|bin| bin.after).collect();
    let by_rank = Bars {
        categories: ranks.iter().map(|bin| bin.first_rank.to_string()).collect(),
        series: vec![("query", before), ("best rewrite", after)],
        counted: "queries",
        unchanged: None,
        wide: false,
    };
    let mut charts = vec![("Queries by the rank of the right picture", by_rank.svg()?)];
    let (mut turns, mut drops) = (BTreeMap::new(), BTreeMap::new());
    for strategy in summary.strategies.values() {
        for (turn, count) in &strategy.accepted_by_turn {
            *turns.entry(*turn).or_insert(0) += count;
        }
        for (reason, count) in &strategy.dropped {
            *drops.entry(reason.replace('_', " ")).or_insert(0) += count;
        }
    }
    // Without a conversation all rewrites are of turn 0, and there is nothing to tell apart.
    if turns.keys().any(|turn| *turn > 0) {
        let names = turns.keys().map(|turn| format!("turn {turn}")).collect();
        charts.push(("Rewrites of high quality by turn", of_rewrites(names, turns.into_values(), false)?));
    }
    if !drops.is_empty() {
        let names = drops.keys().cloned().collect();
        charts
            .push(("Rewrites that were dropped, by reason", of_rewrites(names, drops.into_values(), true)?));
    }
    Ok(charts)
}

fn of_rewrites(categories: Vec<String>, counts: impl Iterator<Item = u64>, wide: bool) -> Result<String> {
    let series = vec![("rewrites", counts.collect())];
    Bars { categories, series, counted: "rewrites", unchanged: None, wide }.svg()
}

fn sample(mined: &MinedQuery, images: &Path) -> Markup {
    html! {
        div.example {
            @match thumbnail(&images.join(&mined.image)) {
                Some(address) => img src=(address) alt=(mined.image);,
                None => span.note { (mined.image) },
            }
            div {
                div { strong { (mined.query) } }
                div.note { (format!("rank {}, {:.3}", mined.low_rank, mined.low_score)) }
                @for rewrite in mined.rewrites.iter().take(REWRITES_SHOWN) { (shown_rewrite(rewrite, mined.low_rank)) }
            }
        }
    }
}

fn shown_rewrite(rewrite: &MinedRewrite, rank_before: u32) -> Markup {
    let class = if rewrite.rank < rank_before { "rewrite better" } else { "rewrite" };
    let MinedRewrite { rank, score, kind, turn, .. } = rewrite;
    let turn = if *turn > 0 { format!(", turn {turn}") } else { String::new() };
    html! {
        div class=(class) {
            (rewrite.text) " " span.note { (format!("rank {rank}, {score:.3}, {kind}{turn}")) }
        }
    }
}
