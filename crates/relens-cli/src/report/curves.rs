//! Training curves, and reward beside recall.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::charts::Series;
use super::inputs::TrainingRun;

/// Points of a line on the page; a longer log is averaged down to them.
const MOST_POINTS: usize = 300;
/// The horizontal axis, and no value.
const STEP: &str = "step";

/// A plot: what it shows, and a line for each run.
#[derive(Debug, PartialEq)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) series: Vec<Series>,
}

/// Two values of the same measurements: what they are called, and a named point each.
#[derive(Debug, PartialEq)]
pub(super) struct Scatter {
    pub(super) reward: String,
    pub(super) recall: String,
    pub(super) points: Vec<(f64, f64, String)>,
}

/// One plot for each measured value, sorted by name, with all runs in it.
pub(super) fn plots(runs: &[TrainingRun]) -> Vec<Plot> {
    let mut plots: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    for run in runs {
        let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for record in &run.records {
            let Some(step) = record.get(STEP).and_then(Value::as_f64) else { continue };
            for (name, value) in numbers(record) {
                lines.entry(name).or_default().push((step, value));
            }
        }
        for (name, points) in lines {
            let series = Series { name: run.label.clone(), points: thinned(&points) };
            plots.entry(name).or_default().push(series);
        }
    }
    plots.into_iter().map(|(title, series)| Plot { title, series }).collect()
}

/// Reward and recall where one record holds both: a point a measurement. Nothing if no run measured both.
pub(super) fn reward_and_recall(runs: &[TrainingRun]) -> Option<Scatter> {
    let mut points = Vec::new();
    let mut names = None;
    for record in runs.iter().flat_map(|run| &run.records) {
        let values = numbers(record);
        let find = |part: &str| values.iter().find(|(name, _)| name.contains(part));
        if let (Some((reward, x)), Some((recall, y))) = (find("reward"), find("image_retrieval_recall@1")) {
            let step = record.get(STEP).and_then(Value::as_u64).unwrap_or_default();
            points.push((*x, *y, step.to_string()));
            names.get_or_insert_with(|| (reward.clone(), recall.clone()));
        }
    }
    names.map(|(reward, recall)| Scatter { reward, recall, points })
}

/// A record's values by name; those of a split carry its name.
fn numbers(record: &Map<String, Value>) -> Vec<(String, f64)> {
    let split = record.get("split").and_then(Value::as_str);
    let named = |name: &str| split.map_or_else(|| name.to_owned(), |split| format!("{split}: {name}"));
    let values = record.iter().filter(|(name, _)| name.as_str() != STEP);
    values
        .filter_map(|(name, value)| Some((named(name), value.as_f64().filter(|value| value.is_finite())?)))
        .collect()
}

fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |points: &[(f64, f64)]| {
        let count = points.len() as f64;
        let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / count, sum.1 / count)
    };
    points.chunks(each).map(mean).collect()
}
