//! The finished model, in the layout of the one that was tuned, f32.

use std::path::Path;

use relens_models::dual_encoder::DualEncoder;
use relens_models::dual_encoder::architecture::write_changed;
use relens_models::weights::ElementType;
use serde_json::{Map, Value};

use super::network::Network;
use crate::Result;
use crate::stages::finished_model::publish;

/// Writes the model with what was trained, and opens it once.
pub(super) fn export(
    run: &Path,
    start: &DualEncoder,
    network: &Network,
    metrics: &Map<String, Value>,
) -> Result<()> {
    publish(run, |directory| {
        // f32: at rates of 1e-6 what was learned is smaller than the steps of half precision.
        write_changed(start, &network.export()?, directory, ElementType::F32)?;
        let written = DualEncoder::open(directory)?;
        written.image_encoder()?;
        written.text_encoder()?;
        Ok(metrics.clone())
    })?;
    Ok(())
}
