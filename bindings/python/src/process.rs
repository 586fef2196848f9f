//! The process that Python runs in: forks, where files are.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::prelude::*;
use relens::error::Error;
use relens::home;
use relens::model_hub::bundled;
use relens_models::regular_file::{self, FileKind};

use crate::fault::{Fault, Result};

/// The process in which something was first computed; 0 before that.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Refuses to work in a child of the process in which work began: the threads that compute are not there, and waiting
/// for them would take for ever.
pub(crate) fn ensure_not_forked() -> Result<()> {
    let here = std::process::id();
    match OWNER.compare_exchange(0, here, Ordering::Relaxed, Ordering::Relaxed) {
        Err(owner) if owner != here => Err(Fault::Forked),
        _ => Ok(()),
    }
}

/// Names a directory with models/ and gallery/ in it, before those that are known.
#[pyfunction]
pub(crate) fn add_data_directory(directory: PathBuf) {
    bundled::add_data_directory(directory);
}

/// The names of the bundled retrievers, sorted.
#[pyfunction]
pub(crate) fn bundled_models() -> Vec<String> {
    bundled::model_names()
}

/// The directory of a bundled model, or of the gallery of pictures.
#[pyfunction]
pub(crate) fn data_file(name: &str) -> Result<PathBuf> {
    Ok(if name == "gallery" { bundled::gallery() } else { bundled::model(name) }?)
}

/// relens's own directory; None where no environment variable names it.
#[pyfunction]
pub(crate) fn home_directory() -> Option<PathBuf> {
    home::directory()
}

/// A TOML file as dictionaries and lists.
#[pyfunction]
pub(crate) fn read_toml(py: Python<'_>, path: PathBuf) -> Result<Bound<'_, PyAny>> {
    let text = regular_file::read_to_string(&path, FileKind::Settings).map_err(Error::from)?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| Fault::Argument {
        name: "path",
        expected: format!("a TOML file in {}", path.display()),
        found: error.to_string(),
    })?;
    Ok(pythonize::pythonize(py, &table)?)
}
