//! The finished rewriter: a directory in Hugging Face's layout, f16.

use std::path::Path;

use relens_models::atomic_file::write_atomically;
use relens_models::weights::{ElementType, tensors_to_bytes};
use serde_json::{Map, Value};

use super::policy::Policy;
use crate::Result;
use crate::stages::finished_model::publish;

/// Where a low-rank adapter lies in the exported directory, in PEFT's files.
const ADAPTER_DIRECTORY: &str = "adapter";

/// Writes the policy as it is now.
pub(super) fn export(run: &Path, policy: &Policy, metrics: &Map<String, Value>) -> Result<()> {
    publish(run, |directory| {
        fs_err::create_dir_all(directory)?;
        let weights = tensors_to_bytes(&policy.export()?, ElementType::F16)?;
        write_atomically(&directory.join("model.safetensors"), &weights)?;
        if let Some(adapter) = policy.adapter() {
            adapter.save(directory.join(ADAPTER_DIRECTORY), &policy.base(), policy.task_type()?)?;
        }
        for (name, bytes) in policy.files()? {
            write_atomically(&directory.join(name), &bytes)?;
        }
        Ok(metrics.clone())
    })?;
    Ok(())
}
