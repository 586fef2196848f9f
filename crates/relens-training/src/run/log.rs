//! What a run writes beside its checkpoints: `config.toml`, `metrics.jsonl`, `samples.jsonl`.
//!
//! The logs hold nothing but what the seed decides (no times, no host names), so that the logs of a resumed run equal
//! those of an uninterrupted one byte for byte. Times belong to [`relens::progress`].

use std::fs::TryLockError;
use std::io::Write;
use std::path::{Path, PathBuf};

use relens_models::atomic_file::write_atomically;
use relens_models::regular_file::{self, FileKind};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Result, TrainingError};

const CONFIG: &str = "config.toml";
const LOCK: &str = ".lock";
const CHECKPOINTS: &str = "checkpoints";

/// A run's directory, held by this process alone.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    _lock: fs_err::File,
}

impl RunDirectory {
    /// Creates or reopens the directory for a run with these settings, and writes the resolved `config.toml`.
    ///
    /// A run that ended before its first checkpoint has nothing to go on with, and may be started with other settings.
    ///
    /// # Errors
    /// [`TrainingError::RunLocked`] if another process trains there; [`TrainingError::RunChanged`] if the run was
    /// started with other settings.
    pub fn open(path: &Path, config: &impl Serialize) -> Result<Self> {
        fs_err::create_dir_all(path)?;
        let lock_path = path.join(LOCK);
        let lock = fs_err::File::create(&lock_path)?;
        match lock.file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(TrainingError::RunLocked { path: lock_path }),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let config_path = path.join(CONFIG);
        let new = toml::to_string_pretty(config).map_err(|error| TrainingError::ConfigFile {
            path: config_path.clone(),
            reason: error.to_string(),
        })?;
        if config_path.exists() && Self::holds_checkpoints(path) {
            let difference =
                difference(&regular_file::read_to_string(&config_path, FileKind::Records)?, &new);
            if !difference.is_empty() {
                return Err(TrainingError::RunChanged { path: config_path, difference });
            }
        } else {
            write_atomically(&config_path, new.as_bytes())?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Whether a run at `path` has saved a checkpoint, so that it can go on.
    pub fn holds_checkpoints(path: &Path) -> bool {
        let entries = fs_err::read_dir(path.join(CHECKPOINTS)).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("step-"))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a JSON Lines log, cut back to what was true at the last checkpoint, that of `step`: what a killed run wrote
    /// beyond it will be written again. Without a checkpoint that is all of it.
    ///
    /// # Errors
    /// The log cannot be read or written.
    pub fn log(&self, name: &str, step: Option<u64>) -> Result<JsonLinesLog> {
        let path = self.path.join(name);
        if path.exists() {
            let text = regular_file::read_to_string(&path, FileKind::Records)?;
            let kept = step.map_or("", |step| lines_up_to(&text, step));
            if kept.len() != text.len() {
                write_atomically(&path, kept.as_bytes())?;
            }
        }
        let file = fs_err::OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(JsonLinesLog { file })
    }
}

/// A log of JSON objects, one a line, each flushed as it is written.
#[derive(Debug)]
pub struct JsonLinesLog {
    file: fs_err::File,
}

impl JsonLinesLog {
    /// Appends a line; `record` should have a field `step`.
    ///
    /// # Errors
    /// The line cannot be written.
    pub fn append(&mut self, record: &Map<String, Value>) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(std::io::Error::from)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.flush()?;
        Ok(())
    }
}

/// The leading whole lines whose `step` is not above `step`.
fn lines_up_to(text: &str, step: u64) -> &str {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let recorded = serde_json::from_str::<Value>(line).ok().and_then(|value| value.get("step")?.as_u64());
        if !line.ends_with('\n') || recorded.is_none_or(|recorded| recorded > step) {
            break;
        }
        end += line.len();
    }
    text.get(..end).unwrap_or_default()
}

/// A record for the log.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

/// The settings that differ between two TOML texts: `a.b: old → new`.
pub(crate) fn difference(old: &str, new: &str) -> String {
    let flatten = |text: &str| {
        let mut fields = std::collections::BTreeMap::new();
        match text.parse::<toml::Table>() {
            Ok(table) => flatten_value("", &toml::Value::Table(table), &mut fields),
            Err(error) => drop(fields.insert("(whole file)".to_owned(), error.to_string())),
        }
        fields
    };
    let (old, new) = (flatten(old), flatten(new));
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let value = |fields: &std::collections::BTreeMap<String, String>, name: &str| {
        fields.get(name).cloned().unwrap_or_else(|| "unset".to_owned())
    };
    let changes: Vec<String> = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| format!("{name}: {} → {}", value(&old, name), value(&new, name)))
        .collect();
    changes.join(", ")
}

fn flatten_value(name: &str, value: &toml::Value, fields: &mut std::collections::BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten_value(&name, value, fields);
            }
        }
        toml::Value::Array(values) if values.iter().any(toml::Value::is_table) => {
            for (index, value) in values.iter().enumerate() {
                flatten_value(&format!("{name}[{index}]"), value, fields);
            }
        }
        other => drop(fields.insert(name.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Config {
        seed: u64,
        nested: Nested,
    }

    #[derive(Serialize)]
    struct Nested {
        rate: f64,
    }

    fn config(rate: f64) -> Config {
        Config { seed: 1, nested: Nested { rate } }
    }

    fn record(step: u64) -> Map<String, Value> {
        Map::from_iter([("step".to_owned(), Value::from(step)), ("loss".to_owned(), Value::from(0.5))])
    }

    #[test]
    fn a_log_is_cut_back_to_the_checkpoint_and_loses_torn_lines() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::open(directory.path(), &config(0.1)).unwrap();
        let mut log = run.log("metrics.jsonl", None).unwrap();
        (1..=5).for_each(|step| log.append(&record(step)).unwrap());
        drop(log);
        let path = directory.path().join("metrics.jsonl");
        let mut torn = std::fs::read_to_string(&path).unwrap();
        torn.push_str("{\"step\": 3, \"lo");
        std::fs::write(&path, torn).unwrap();
        let mut log = run.log("metrics.jsonl", Some(3)).unwrap();
        log.append(&record(4)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let steps: Vec<u64> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["step"].as_u64().unwrap())
            .collect();
        assert_eq!(steps, [1, 2, 3, 4]);
    }

    #[test]
    fn other_settings_are_refused_by_name_once_there_is_a_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        drop(RunDirectory::open(directory.path(), &config(0.3)).unwrap());
        drop(RunDirectory::open(directory.path(), &config(0.1)).unwrap());
        std::fs::create_dir_all(directory.path().join("checkpoints/step-5")).unwrap();
        drop(RunDirectory::open(directory.path(), &config(0.1)).unwrap());
        let error = RunDirectory::open(directory.path(), &config(0.2)).unwrap_err().to_string();
        assert!(error.contains("nested.rate: 0.1 → 0.2"), "{error}");
    }

    #[test]
    fn a_second_process_is_kept_out() {
        let directory = tempfile::tempdir().unwrap();
        let _held = RunDirectory::open(directory.path(), &config(0.1)).unwrap();
        let error = RunDirectory::open(directory.path(), &config(0.1)).unwrap_err();
        assert!(matches!(error, TrainingError::RunLocked { .. }), "{error}");
    }
}
