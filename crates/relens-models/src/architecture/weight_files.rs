//! Which files hold a model's weights.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::fields::{read_object, refuse};
use super::overlay::Overlay;
use crate::weights::Weights;
use crate::{ModelError, Result};

/// The weights' names, in the order in which they are looked for.
const SINGLE_FILES: [&str; 2] = ["open_clip_model.safetensors", "model.safetensors"];

/// The files that hold the weights of a model directory: one, or the shards that an index lists.
///
/// # Errors
/// When there are none, or an index is malformed or names a file outside of the directory.
pub fn weight_files(directory: &Path) -> Result<Vec<PathBuf>> {
    if let Some(Overlay { base, changes }) = Overlay::read(directory)? {
        return Ok(weight_files(&base)?.into_iter().chain([changes]).collect());
    }
    for name in SINGLE_FILES {
        let file = directory.join(name);
        if file.is_file() {
            return Ok(vec![file]);
        }
        let index = directory.join(format!("{name}.index.json"));
        if index.is_file() {
            return shards(directory, &index);
        }
    }
    let names = SINGLE_FILES.join("` or `");
    Err(ModelError::Io(std::io::Error::new(
        std::io::ErrorKind::NotFound,
        format!("{}: expected `{names}` (or their `.index.json`), found neither", directory.display()),
    )))
}

/// Maps the weights of a model directory.
///
/// # Errors
/// As [`weight_files`]; also when a file is not valid safetensors, or two shards hold a tensor of the same name.
pub fn open_weights(directory: &Path) -> Result<Weights> {
    if let Some(Overlay { base, changes }) = Overlay::read(directory)? {
        return open_weights(&base)?.overlaid(&Weights::open(changes)?);
    }
    let parts = weight_files(directory)?.iter().map(Weights::open).collect::<Result<Vec<_>>>()?;
    Weights::merge(parts)
}

fn shards(directory: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    let object = read_object(index)?;
    let Some(map) = object.get("weight_map").and_then(Value::as_object) else {
        return Err(refuse(index, "weight_map", "an object of tensor names and files", "none"));
    };
    let mut files = BTreeSet::new();
    for (tensor, file) in map {
        let plain = file.as_str().map(Path::new).filter(|file| {
            let mut components = file.components();
            matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
        });
        let Some(file) = plain else {
            return Err(refuse(index, &format!("weight_map.{tensor}"), "a file name", &file.to_string()));
        };
        files.insert(directory.join(file));
    }
    if files.is_empty() {
        return Err(refuse(index, "weight_map", "at least one tensor", "none"));
    }
    Ok(files.into_iter().collect())
}
