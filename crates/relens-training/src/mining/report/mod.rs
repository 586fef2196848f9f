//! `report.html`: the numbers, drawn, with sample cards; one file without anything from elsewhere.

mod charts;
mod thumbnail;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use self::charts::{Series, Width, bars};
use super::record::MinedQuery;
use super::summary::Summary;
use crate::{Result, TrainingError};

/// Samples that are shown: the first records, spread over the whole file.
const CARDS: usize = 24;
/// Rewrites of one card.
const REWRITES_SHOWN: usize = 4;

/// Collects what the report shows while records go by.
#[derive(Debug)]
pub struct Report {
    k: u32,
    /// Every n-th record is a sample; n doubles whenever there are twice as many as are shown.
    every: u64,
    seen: u64,
    samples: Vec<MinedQuery>,
    before: BTreeMap<u32, u64>,
    after: BTreeMap<u32, u64>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    queries: u64,
    low: u64,
    turned_high: u64,
    share: String,
    improved: u64,
    rewrites: u64,
    before: String,
    after: String,
    reciprocal_before: String,
    reciprocal_after: String,
}

#[derive(Serialize)]
struct Chart {
    caption: &'static str,
    svg: String,
}

#[derive(Serialize)]
struct Card<'a> {
    picture: Option<String>,
    image: &'a str,
    query: &'a str,
    rank: u32,
    score: String,
    rewrites: Vec<CardRewrite<'a>>,
}

#[derive(Serialize)]
struct CardRewrite<'a> {
    text: &'a str,
    rank: u32,
    score: String,
    kind: &'a str,
    turn: u32,
    better: bool,
}

impl Report {
    /// Nothing yet; `k` parts low from high quality.
    pub fn new(k: u32) -> Self {
        Self { k, every: 1, seen: 0, samples: Vec::new(), before: BTreeMap::new(), after: BTreeMap::new() }
    }

    /// Takes a record in.
    pub fn add(&mut self, mined: &MinedQuery) {
        if mined.low_rank > self.k {
            let best = mined.rewrites.iter().map(|rewrite| rewrite.rank).min().unwrap_or(mined.low_rank);
            *self.before.entry(bin(mined.low_rank)).or_default() += 1;
            *self.after.entry(bin(best.min(mined.low_rank))).or_default() += 1;
        }
        if mined.rewrites.is_empty() {
            return;
        }
        if self.seen.is_multiple_of(self.every) {
            self.samples.push(mined.clone());
        }
        self.seen += 1;
        if self.samples.len() >= 2 * CARDS {
            let mut number = 0;
            self.samples.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// The page. `images` is the data set's directory of pictures.
    ///
    /// # Errors
    /// A chart cannot be drawn. A picture that cannot be read is left out.
    pub fn page(&self, title: &str, summary: &Summary, images: &Path) -> Result<String> {
        let cards: Vec<Card<'_>> = self.samples.iter().take(CARDS).map(|mined| card(mined, images)).collect();
        let rows: Vec<Row<'_>> =
            summary.strategies.iter().map(|(name, numbers)| row(name, numbers)).collect();
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        let failed = |error: minijinja::Error| TrainingError::Data {
            path: PathBuf::from("report.html"),
            reason: format!("{error:#}"),
        };
        environment.add_template("page", include_str!("page.html")).map_err(failed)?;
        let charts = self.charts(summary)?;
        let values = serde_json::json!({
            "title": title, "k": self.k, "rows": rows, "charts": charts, "cards": cards,
        });
        let page = environment.get_template("page").map_err(failed)?;
        page.render(Value::from(Serde(values))).map_err(failed)
    }

    fn charts(&self, summary: &Summary) -> Result<Vec<Chart>> {
        let last = self.before.keys().chain(self.after.keys()).copied().max().unwrap_or(0);
        let labels: Vec<String> = (0..=last).map(bin_name).collect();
        let counts =
            |of: &BTreeMap<u32, u64>| (0..=last).map(|bin| of.get(&bin).copied().unwrap_or(0)).collect();
        let ranks = [
            Series { name: "query", values: counts(&self.before) },
            Series { name: "best rewrite", values: counts(&self.after) },
        ];
        let mut turns = BTreeMap::new();
        let mut drops = BTreeMap::new();
        for numbers in summary.strategies.values() {
            for (turn, count) in &numbers.accepted_by_turn {
                *turns.entry(*turn).or_insert(0) += count;
            }
            for (reason, count) in &numbers.dropped {
                *drops.entry(reason.replace('_', " ")).or_insert(0) += count;
            }
        }
        let mut charts = vec![Chart {
            caption: "Queries by the rank of the right picture",
            svg: bars(Width::Half, &labels, &ranks)?,
        }];
        // Without a conversation there is nothing to tell apart.
        if turns.keys().any(|turn| *turn > 0) {
            let names: Vec<String> = turns.keys().map(|turn| format!("turn {turn}")).collect();
            let accepted = [Series { name: "rewrites", values: turns.into_values().collect() }];
            let svg = bars(Width::Half, &names, &accepted)?;
            charts.push(Chart { caption: "Rewrites of high quality by turn", svg });
        }
        if !drops.is_empty() {
            let (reasons, dropped): (Vec<String>, Vec<u64>) = drops.into_iter().unzip();
            let dropped = [Series { name: "rewrites", values: dropped }];
            let svg = bars(Width::Full, &reasons, &dropped)?;
            charts.push(Chart { caption: "Rewrites that were dropped, by reason", svg });
        }
        Ok(charts)
    }
}

/// Ranks in powers of two: 1, 2–3, 4–7, ….
fn bin(rank: u32) -> u32 {
    rank.max(1).ilog2()
}

fn bin_name(bin: u32) -> String {
    (1u64 << bin).to_string()
}

fn row<'a>(name: &'a str, numbers: &super::summary::StrategySummary) -> Row<'a> {
    let low = numbers.low.max(1) as f64;
    Row {
        name,
        queries: numbers.queries,
        low: numbers.low,
        turned_high: numbers.turned_high,
        share: format!("{:.1}", 100.0 * numbers.turned_share()),
        improved: numbers.improved,
        rewrites: numbers.rewrites,
        before: format!("{:.1}", numbers.mean_rank_before()),
        after: format!("{:.1}", numbers.mean_rank_after()),
        reciprocal_before: format!("{:.3}", numbers.reciprocal_before / low),
        reciprocal_after: format!("{:.3}", numbers.reciprocal_after / low),
    }
}

fn card<'a>(mined: &'a MinedQuery, images: &Path) -> Card<'a> {
    let rewrites = mined.rewrites.iter().take(REWRITES_SHOWN).map(|rewrite| CardRewrite {
        text: &rewrite.text,
        rank: rewrite.rank,
        score: format!("{:.3}", rewrite.score),
        kind: &rewrite.kind,
        turn: rewrite.turn,
        better: rewrite.rank < mined.low_rank,
    });
    Card {
        picture: thumbnail::data_url(&images.join(&mined.image)),
        image: &mined.image,
        query: &mined.query,
        rank: mined.low_rank,
        score: format!("{:.3}", mined.low_score),
        rewrites: rewrites.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::mined;
    use super::*;

    #[test]
    fn a_page_holds_charts_and_escaped_samples_spread_over_the_file() {
        let mut summary = Summary::new(1);
        let mut report = Report::new(1);
        for number in 0..500 {
            let mut query = mined(&format!("a.jpg#{number}"));
            query.query = format!("<b>query {number}</b>");
            summary.add(&query);
            report.add(&query);
        }
        let page = report.page("challenge & response", &summary, Path::new("nowhere")).unwrap();
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("class=\"card\"").count(), CARDS);
        assert!(page.contains("&lt;b&gt;query 0&lt;") && !page.contains("<b>"), "{page}");
        assert!(page.contains("challenge &amp; response"));
        assert!(report.samples.last().unwrap().query.contains("query 4"), "the end of the file is shown too");
    }
}
