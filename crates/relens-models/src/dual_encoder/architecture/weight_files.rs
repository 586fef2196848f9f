//! Which files hold a model's weights.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::fields::{read_object, refuse};
use super::{chinese_clip, hugging_face, open_clip, preprocessor_config};
use crate::tokenizer::TOKENIZER_FILES;
use crate::weights::Weights;
use crate::{ModelError, Result};

/// The weights' names beside `open_clip_config.json`, in the order in which they are looked for. The plain names come
/// last: they often belong to the image tower alone, or to the same model in Hugging Face's layout.
const OPEN_CLIP_FILES: [&str; 4] =
    ["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin"];
/// The weights' names in Hugging Face's layout.
const HUGGING_FACE_FILES: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

fn candidates(has_open_clip_config: bool) -> &'static [&'static str] {
    if has_open_clip_config { &OPEN_CLIP_FILES } else { &HUGGING_FACE_FILES }
}

/// Of a listing of files, those that hold the weights: one, or shards and their index; none if there are none.
pub fn choose_weights<'a>(names: &[&'a str]) -> Vec<&'a str> {
    for candidate in candidates(names.contains(&open_clip::CONFIG_FILE)) {
        let index = format!("{candidate}.index.json");
        let (stem, suffix) = candidate.rsplit_once('.').unwrap_or((candidate, ""));
        let is_shard = |name: &str| {
            let middle = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(suffix));
            middle.is_some_and(|middle| middle.starts_with('-') && middle.contains("-of-"))
        };
        if names.contains(candidate) {
            return names.iter().copied().filter(|name| name == candidate).collect();
        }
        if names.contains(&index.as_str()) {
            return names.iter().copied().filter(|name| *name == index || is_shard(name)).collect();
        }
    }
    Vec::new()
}

/// Whether a file of this name belongs to a model directory, weights aside.
pub fn is_model_file(name: &str) -> bool {
    [open_clip::CONFIG_FILE, hugging_face::CONFIG_FILE, preprocessor_config::FILE].contains(&name)
        || TOKENIZER_FILES.contains(&name)
}

/// The files that hold the weights of a model directory: one, or the shards that an index lists.
///
/// # Errors
/// When there are none, or an index is malformed or names a file outside of the directory.
pub fn weight_files(directory: &Path) -> Result<Vec<PathBuf>> {
    if let Some(Overlay { base, changes }) = Overlay::read(directory)? {
        return Ok(weight_files(&base)?.into_iter().chain([changes]).collect());
    }
    let candidates = candidates(directory.join(open_clip::CONFIG_FILE).is_file());
    for name in candidates {
        let file = directory.join(name);
        if file.is_file() {
            return Ok(vec![file]);
        }
        let index = directory.join(format!("{name}.index.json"));
        if index.is_file() {
            return shards(directory, &index);
        }
    }
    let has_config =
        [open_clip::CONFIG_FILE, hugging_face::CONFIG_FILE].iter().any(|name| directory.join(name).is_file());
    if let Some(checkpoint) = chinese_clip::checkpoint(directory).filter(|_| !has_config) {
        return Ok(vec![checkpoint]);
    }
    let names = candidates.join("`, `");
    Err(ModelError::Io(std::io::Error::new(
        std::io::ErrorKind::NotFound,
        format!("{}: expected one of `{names}` (or its `.index.json`), found none", directory.display()),
    )))
}

/// Opens the weights of a model directory: safetensors are mapped, PyTorch's pickles read.
///
/// # Errors
/// As [`weight_files`]; also when a file is malformed, or two shards hold a tensor of the same name.
pub fn open_weights(directory: &Path) -> Result<Weights> {
    if let Some(Overlay { base, changes }) = Overlay::read(directory)? {
        return open_weights(&base)?.overlaid(&Weights::open(changes)?);
    }
    let open = |file: &PathBuf| match file.extension() {
        Some(extension) if extension == "bin" || extension == "pt" => Weights::open_pickle(file),
        _ => Weights::open(file),
    };
    Weights::merge(weight_files(directory)?.iter().map(open).collect::<Result<Vec<_>>>()?)
}

fn shards(directory: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    let object = read_object(index)?;
    let Some(map) = object.get("weight_map").and_then(Value::as_object) else {
        return Err(refuse(index, "weight_map", "an object of tensor names and files", "none"));
    };
    let mut files = BTreeSet::new();
    for (tensor, file) in map {
        // An index comes from strangers, and must not lead out of the model's directory.
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

/// The file that makes a directory an overlay: `{"base": "NAME", "changes": "FILE"}`.
const OVERLAY_FILE: &str = "relens_overlay.json";

/// A model that is another one with some tensors changed, so that the large towers of both are one file: where the two
/// halves of the weights are.
#[derive(Debug)]
struct Overlay {
    /// The directory beside this one whose weights are taken.
    base: PathBuf,
    /// The safetensors file with the tensors that replace some of them.
    changes: PathBuf,
}

impl Overlay {
    /// What the directory lays over another, if it does.
    ///
    /// # Errors
    /// The file is no object of two plain names; the base is itself an overlay.
    fn read(directory: &Path) -> Result<Option<Self>> {
        let file = directory.join(OVERLAY_FILE);
        if !file.is_file() {
            return Ok(None);
        }
        let object = read_object(&file)?;
        let plain = |field: &str| {
            let value = object.get(field).unwrap_or(&Value::Null);
            let name = value.as_str().filter(|name| Path::new(name).file_name() == Some(OsStr::new(name)));
            name.ok_or_else(|| refuse(&file, field, "a plain name", &value.to_string()))
        };
        let directory = fs_err::canonicalize(directory)?;
        let base = directory.parent().unwrap_or(&directory).join(plain("base")?);
        if base.join(OVERLAY_FILE).is_file() {
            return Err(refuse(&file, "base", "a model that is no overlay itself", plain("base")?));
        }
        Ok(Some(Self { base, changes: directory.join(plain("changes")?) }))
    }
}
