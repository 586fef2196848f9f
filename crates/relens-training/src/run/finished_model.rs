//! What a run ends with: a model directory that is there whole or not at all, and its numbers.

use std::path::{Path, PathBuf};

use relens_models::atomic_file::write_atomically;
use relens_models::regular_file::{self, FileKind};
use serde_json::{Map, Value};

use crate::Result;

/// The finished model's directory inside a run's.
pub const MODEL_DIRECTORY: &str = "model";
/// What the exported weights measured on the validation split; written last, so that it marks a whole export.
const METRICS_FILE: &str = "metrics.json";
/// The directory while it is written.
const PARTIAL: &str = ".partial-model";

/// What a finished run has to show.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// The exported model.
    pub model: PathBuf,
    /// What the exported weights measured on the validation split; of a retriever under clip_benchmark's names.
    pub metrics: Map<String, Value>,
    /// The step whose weights were exported.
    pub best_step: u64,
    /// Steps done.
    pub steps: u64,
}

/// The numbers of an earlier export, if it is whole.
pub(crate) fn finished(run: &Path) -> Result<Option<Map<String, Value>>> {
    let path = run.join(MODEL_DIRECTORY).join(METRICS_FILE);
    if !path.exists() {
        return Ok(None);
    }
    Ok(serde_json::from_slice(&regular_file::read(&path, FileKind::Settings)?).ok())
}

/// Puts what `write` makes into the run's model directory: into a directory that is not there yet, which takes its
/// place when it is whole. `write` returns what the model measures.
pub(crate) fn publish(
    run: &Path,
    write: impl FnOnce(&Path) -> Result<Map<String, Value>>,
) -> Result<Map<String, Value>> {
    let partial = run.join(PARTIAL);
    if partial.exists() {
        fs_err::remove_dir_all(&partial)?;
    }
    let metrics = write(&partial)?;
    let text = serde_json::to_vec_pretty(&metrics).map_err(std::io::Error::from)?;
    write_atomically(&partial.join(METRICS_FILE), &text)?;
    let target = run.join(MODEL_DIRECTORY);
    if target.exists() {
        fs_err::remove_dir_all(&target)?;
    }
    fs_err::rename(&partial, &target)?;
    Ok(metrics)
}
