//! Writing a model anew: one safetensors file, another element type, the same layout.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;

use super::{chinese_clip, hugging_face, is_model_file, open_clip};
use crate::dual_encoder::DualEncoder;
use crate::weights::{ElementType, save_tensors};
use crate::{ModelError, Result};

/// Writes the model of `source` into the new directory `target`, its weights as `element`.
///
/// Both towers are built first, so that nothing is written of a model that does not work. Tensors that are no
/// floating-point numbers (counters, position numbers) are left out; no library needs them. So are those that no tower
/// of relens reads and that are not finite, with a warning.
///
/// # Errors
/// When `target` exists, the model cannot be opened, or a file cannot be written.
pub fn convert(source: &Path, target: &Path, element: ElementType) -> Result<()> {
    let encoder = DualEncoder::open(source)?;
    encoder.image_encoder()?;
    encoder.text_encoder()?;
    write_changed(&encoder, &BTreeMap::new(), target, element)
}

/// Writes a model with some of its tensors changed into the new directory `target`: its layout, its other files, its
/// weights as `element`. `changes` are by name, in the checkpoint's layout.
///
/// # Errors
/// When `target` exists, a changed tensor is not one of the model's or has another shape, or a file cannot be written.
pub fn write_changed(
    encoder: &DualEncoder,
    changes: &BTreeMap<String, Tensor>,
    target: &Path,
    element: ElementType,
) -> Result<()> {
    if target.exists() {
        let reason = format!("{}: expected a directory that does not exist yet", target.display());
        return Err(ModelError::Io(std::io::Error::new(std::io::ErrorKind::AlreadyExists, reason)));
    }
    let (source, weights) = (encoder.directory(), encoder.parameters().weights());
    let mut tensors = BTreeMap::new();
    for name in weights.names() {
        let shape = weights.shape(name).unwrap_or_default();
        // Counters and position numbers.
        if weights.stored(name, shape).is_err() {
            continue;
        }
        match weights.tensor(name, shape) {
            Ok(tensor) => drop(tensors.insert(name.to_owned(), tensor)),
            // No tower reads it, or building it would have failed: what an initialisation forgot.
            Err(error @ ModelError::NonFiniteTensor { .. }) => tracing::warn!(%error, "left out"),
            Err(error) => return Err(error),
        }
    }
    for (name, change) in changes {
        let known = tensors.get(name).map(Tensor::dims);
        if known != Some(change.dims()) {
            return Err(ModelError::Argument {
                operation: "write_changed",
                expected: format!("`{name}` of shape {known:?}, as the model has it"),
                found: format!("{:?}", change.dims()),
            });
        }
        tensors.insert(name.clone(), change.clone());
    }
    fs_err::create_dir_all(target)?;
    for entry in fs_err::read_dir(source)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_model_file) {
            fs_err::copy(entry.path(), target.join(entry.file_name()))?;
        }
    }
    let name = if source.join(open_clip::CONFIG_FILE).is_file() {
        "open_clip_model.safetensors"
    } else if source.join(hugging_face::CONFIG_FILE).is_file() {
        "model.safetensors"
    } else {
        chinese_clip::CONVERTED_FILE
    };
    save_tensors(&target.join(name), &tensors, element)
}
