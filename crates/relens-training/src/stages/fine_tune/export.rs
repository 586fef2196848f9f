//! The finished model, in the layout of the one that was tuned, f32.

use std::path::Path;

use relens_models::architecture::write_changed;
use relens_models::atomic_file::write_atomically;
use relens_models::dual_encoder::DualEncoder;
use relens_models::weights::ElementType;
use serde_json::{Map, Value};

use super::MODEL_DIRECTORY;
use super::network::Network;
use crate::Result;

/// What the exported model measures on the validation split; written last, so that it marks a whole export.
const METRICS_FILE: &str = "metrics.json";
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

/// Writes the model with what was trained, and opens it once.
pub(super) fn export(
    run: &Path,
    start: &DualEncoder,
    network: &Network,
    metrics: &Map<String, Value>,
) -> Result<()> {
    let partial = run.join(PARTIAL);
    if partial.exists() {
        fs_err::remove_dir_all(&partial)?;
    }
    // f32: at rates of 1e-6 what was learned is smaller than the steps of half precision.
    write_changed(start, &network.export()?, &partial, ElementType::F32)?;
    let written = DualEncoder::open(&partial)?;
    written.image_encoder()?;
    written.text_encoder()?;
    let text = serde_json::to_vec_pretty(metrics).map_err(std::io::Error::from)?;
    write_atomically(&partial.join(METRICS_FILE), &text)?;
    let target = run.join(MODEL_DIRECTORY);
    if target.exists() {
        fs_err::remove_dir_all(&target)?;
    }
    fs_err::rename(&partial, &target)?;
    Ok(())
}
