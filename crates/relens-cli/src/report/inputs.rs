//! The inputs of a report: run directories, results of `relens eval` and tables of `relens compare`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::query_results::{ImageResult, QueryResult};

/// The key by which a result of `relens eval` is known.
const EVALUATION_KEY: &str = "image_retrieval_mean_rank";
/// What a run directory has.
const METRICS: &str = "metrics.jsonl";

/// Everything that was named, by kind.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) evaluations: Vec<RecordedEvaluation>,
    pub(crate) runs: Vec<TrainingRun>,
    pub(crate) comparisons: Vec<ComparisonTable>,
}

/// A result of `relens eval --json`, with each query if it was asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct RecordedEvaluation {
    /// How it is called in the report.
    #[serde(skip)]
    pub(crate) label: String,
    #[serde(default)]
    pub(crate) model: String,
    #[serde(default)]
    pub(crate) enhancer: String,
    pub(crate) n_images: u64,
    pub(crate) n_texts: u64,
    /// Text to image: every caption.
    #[serde(default)]
    pub(crate) queries: Vec<QueryResult>,
    /// Image to text: every picture.
    #[serde(default)]
    pub(crate) pictures: Vec<ImageResult>,
    /// All numbers.
    #[serde(flatten)]
    pub(crate) values: Map<String, Value>,
}

/// The log of a training run.
#[derive(Debug)]
pub(crate) struct TrainingRun {
    pub(crate) label: String,
    /// `config.toml`, if it is there.
    pub(crate) config: Option<String>,
    pub(crate) records: Vec<Map<String, Value>>,
}

/// A table of `relens compare --json`.
#[derive(Debug)]
pub(crate) struct ComparisonTable {
    pub(crate) label: String,
    pub(crate) rows: Vec<ComparisonRow>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ComparisonRow {
    pub(crate) label: String,
    /// What the queries are called, where they are not the captions.
    #[serde(default)]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) share: Option<f64>,
    pub(crate) text_to_image: Vec<ComparisonCell>,
    pub(crate) image_to_text: Vec<ComparisonCell>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ComparisonCell {
    pub(crate) k: usize,
    pub(crate) recall: f64,
    pub(crate) difference: Interval,
}

/// A difference and its 95 % interval, as fractions.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Interval {
    pub(crate) difference: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Inputs {
    /// Reads everything that was named: files by their content, directories as runs with the results inside of them.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut inputs = Self::default();
        for path in paths {
            if path.is_dir() {
                inputs.read_directory(path)?;
            } else {
                inputs.read_file(path)?;
            }
        }
        tell_apart(inputs.evaluations.iter_mut().map(|evaluation| &mut evaluation.label));
        tell_apart(inputs.runs.iter_mut().map(|run| &mut run.label));
        Ok(inputs)
    }

    fn read_directory(&mut self, directory: &Path) -> Result<()> {
        let metrics = directory.join(METRICS);
        let mut found = metrics.is_file();
        if found {
            let config = fs_err::read_to_string(directory.join("config.toml")).ok();
            self.runs.push(TrainingRun { label: label_of(directory), config, records: records(&metrics)? });
        }
        let mut files: Vec<PathBuf> = fs_err::read_dir(directory)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        files.sort();
        for file in files {
            let value: Value = json(&file)?;
            if is_evaluation(&value) || is_comparison(&value) || kinds(&value).is_some() {
                self.take(&file, value)?;
                found = true;
            }
        }
        if !found {
            bail!(
                "{}: expected {METRICS}, or results of `relens eval --json`, found neither",
                directory.display()
            );
        }
        Ok(())
    }

    fn read_file(&mut self, path: &Path) -> Result<()> {
        self.take(path, json(path)?)
    }

    fn take(&mut self, path: &Path, value: Value) -> Result<()> {
        let malformed = || format!("{}: not what relens writes", path.display());
        if is_comparison(&value) {
            let rows = serde_json::from_value(value).with_context(malformed)?;
            self.comparisons.push(ComparisonTable { label: label_of(path), rows });
        } else if is_evaluation(&value) {
            let mut evaluation: RecordedEvaluation = serde_json::from_value(value).with_context(malformed)?;
            evaluation.label = label_of(path);
            self.evaluations.push(evaluation);
        } else if let Some(kinds) = kinds(&value) {
            for (kind, value) in kinds {
                let mut evaluation: RecordedEvaluation =
                    serde_json::from_value(value.clone()).with_context(malformed)?;
                evaluation.label = format!("{}, {kind}", label_of(path));
                self.evaluations.push(evaluation);
            }
        } else {
            bail!(
                "{}: expected a result of `relens eval --json` or `relens compare --json`, found another JSON file",
                path.display()
            );
        }
        Ok(())
    }
}

impl RecordedEvaluation {
    /// The cut-offs of a direction (`image_retrieval` or `text_retrieval`) and their recalls.
    pub(crate) fn recalls(&self, direction: &str) -> Vec<(usize, f64)> {
        let prefix = format!("{direction}_recall@");
        let recall = |(key, value): (&String, &Value)| {
            Some((key.strip_prefix(&prefix)?.parse().ok()?, value.as_f64()?))
        };
        let mut recalls: Vec<(usize, f64)> = self.values.iter().filter_map(recall).collect();
        recalls.sort_by_key(|(k, _)| *k);
        recalls
    }

    /// A number by its name.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.values.get(key)?.as_f64()
    }
}

fn is_evaluation(value: &Value) -> bool {
    value.get(EVALUATION_KEY).is_some()
}

/// The evaluations of `relens eval --queries`, by the kind of query.
fn kinds(value: &Value) -> Option<&Map<String, Value>> {
    value.get("kinds")?.as_object().filter(|kinds| kinds.values().all(is_evaluation))
}

fn is_comparison(value: &Value) -> bool {
    value.get(0).is_some_and(|row| row.get("text_to_image").is_some())
}

fn json(path: &Path) -> Result<Value> {
    let bytes = fs_err::read(path)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{}: expected JSON", path.display()))
}

fn records(path: &Path) -> Result<Vec<Map<String, Value>>> {
    let text = fs_err::read_to_string(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let record = |(number, line): (usize, &str)| {
        serde_json::from_str(line)
            .with_context(|| format!("{}: line {}: expected a JSON object", path.display(), number + 1))
    };
    lines.map(record).collect()
}

/// The name of a file or directory, without its ending.
fn label_of(path: &Path) -> String {
    let resolved = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = if path.is_dir() { resolved.file_name() } else { resolved.file_stem() };
    name.map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Numbers labels that are there twice.
fn tell_apart<'a>(labels: impl Iterator<Item = &'a mut String>) {
    let mut seen = std::collections::HashMap::new();
    for label in labels {
        let count: &mut usize = seen.entry(label.clone()).or_insert(0);
        *count += 1;
        if *count > 1 {
            *label = format!("{label} ({count})");
        }
    }
}
