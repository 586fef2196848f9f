//! A model that is another one with some tensors changed, so that the large towers of both are one file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::fields::{read_object, refuse};
use crate::Result;

/// The file that makes a directory an overlay: `{"base": "NAME", "changes": "FILE"}`.
const FILE: &str = "relens_overlay.json";

/// Where the two halves of the weights are.
#[derive(Debug)]
pub(super) struct Overlay {
    /// The directory beside this one whose weights are taken.
    pub(super) base: PathBuf,
    /// The safetensors file with the tensors that replace some of them.
    pub(super) changes: PathBuf,
}

impl Overlay {
    /// What the directory lays over another, if it does.
    ///
    /// # Errors
    /// The file is no object of two plain names; the base is itself an overlay.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>> {
        let file = directory.join(FILE);
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
        if base.join(FILE).is_file() {
            return Err(refuse(&file, "base", "a model that is no overlay itself", plain("base")?));
        }
        Ok(Some(Self { base, changes: directory.join(plain("changes")?) }))
    }
}
