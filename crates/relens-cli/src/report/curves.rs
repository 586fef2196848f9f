//! Training curves, and reward beside recall.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::charts::Series;
use super::inputs::TrainingRun;

/// Points of a line on the page; a longer log is averaged down to them.
const MOST_POINTS: usize = 300;
/// The horizontal axis, and no value.
const STEP: &str = "step";
/// The same in another unit.
const EPOCH: &str = "epoch";

/// What runs logged.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Logged {
    /// Values that changed during the runs.
    pub(super) plots: Vec<Plot>,
    /// Values that each run measured once at most: the name, and a value for each run.
    pub(super) once: Vec<(String, Vec<Option<f64>>)>,
}

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

/// One plot for each measured value, sorted by name, with all runs in it; values that never changed are left out.
pub(super) fn logged(runs: &[TrainingRun]) -> Logged {
    let mut measured: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    for (number, run) in runs.iter().enumerate() {
        let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for record in &run.records {
            let Some(step) = record.get(STEP).and_then(Value::as_f64) else { continue };
            for (name, value) in numbers(record) {
                lines.entry(name).or_default().push((step, value));
            }
        }
        for (name, points) in lines {
            let series = Series { name: run.label.clone(), number, points: thinned(&points) };
            measured.entry(name).or_default().push(series);
        }
    }
    let mut logged = Logged::default();
    for (title, series) in measured.into_iter().filter(|(name, _)| name != EPOCH) {
        let mut values = series.iter().flat_map(|series| &series.points).map(|point| point.1);
        let first = values.next();
        if series.iter().all(|series| series.points.len() == 1) {
            let of = |run| series.iter().find(|series| series.number == run).map(|series| series.points[0].1);
            logged.once.push((title, (0..runs.len()).map(of).collect()));
        } else if values.any(|value| Some(value) != first) {
            logged.plots.push(Plot { title, series });
        }
    }
    logged
}

/// Reward and recall where one record holds both: a point a measurement. Nothing if no run measured both.
pub(super) fn reward_and_recall(runs: &[TrainingRun]) -> Option<Scatter> {
    let mut points = Vec::new();
    let mut names = None;
    for record in runs.iter().flat_map(|run| &run.records) {
        let values = numbers(record);
        let find = |part: &dyn Fn(&str) -> bool| values.iter().find(|(name, _)| part(name));
        let (reward, recall) =
            (find(&|name| name.contains("reward")), find(&|name| name.ends_with("image_retrieval_recall@1")));
        if let (Some((reward, x)), Some((recall, y))) = (reward, recall) {
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
