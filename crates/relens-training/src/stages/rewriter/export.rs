//! The finished rewriter: a directory in Hugging Face's layout, f16.

use std::path::Path;

use relens_models::atomic_file::write_atomically;
use relens_models::weights::{ElementType, tensors_to_bytes};
use serde_json::{Map, Value};

use super::MODEL_DIRECTORY;
use super::policy::Policy;
use crate::Result;

/// What the exported weights measured on the validation split; written last, so that it marks a whole export.
const METRICS_FILE: &str = "metrics.json";
/// Where a low-rank adapter lies in the exported directory, in PEFT's files.
const ADAPTER_DIRECTORY: &str = "adapter";
/// The directory while it is written.
const PARTIAL: &str = ".partial-model";

/// The numbers of an earlier export, if it is whole.
pub(super) fn finished(run: &Path) -> Result<Option<Map<String, Value>>> {
    let path = run.join(MODEL_DIRECTORY).join(METRICS_FILE);
    if !path.exists() {
        return Ok(None);
    }
    Ok(serde_json::from_slice(&fs_err::read(&path)?).ok())
}

/// Writes the policy as it is now.
pub(super) fn export(run: &Path, policy: &Policy, metrics: &Map<String, Value>) -> Result<()> {
    let partial = run.join(PARTIAL);
    if partial.exists() {
        fs_err::remove_dir_all(&partial)?;
    }
    fs_err::create_dir_all(&partial)?;
    let weights = tensors_to_bytes(&policy.export()?, ElementType::F16)?;
    write_atomically(&partial.join("model.safetensors"), &weights)?;
    if let Some(adapter) = policy.adapter() {
        adapter.save(partial.join(ADAPTER_DIRECTORY), &policy.base(), policy.task_type()?)?;
    }
    for (name, bytes) in policy.files()? {
        write_atomically(&partial.join(name), &bytes)?;
    }
    let text = serde_json::to_vec_pretty(metrics).map_err(std::io::Error::from)?;
    write_atomically(&partial.join(METRICS_FILE), &text)?;
    let target = run.join(MODEL_DIRECTORY);
    if target.exists() {
        fs_err::remove_dir_all(&target)?;
    }
    Ok(fs_err::rename(&partial, &target)?)
}
