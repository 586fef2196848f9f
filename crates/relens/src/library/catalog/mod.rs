//! What a library remembers: one SQLite file with pictures, their vectors and captions, and what was left out.
//!
//! Every change is a transaction in write-ahead mode with full synchronisation, so that a kill or a power cut at any
//! moment leaves the last committed state. Vectors are rows of their own table: one scan reads them in the order of
//! the ids, and they can never disagree with the pictures, as a second file could. 7,000 vectors of 512 components
//! are read in some milliseconds, 100,000 in some tenths of a second.

mod folders;
mod health;
mod open;
mod path_bytes;
mod picture_columns;
mod reading;
#[cfg(test)]
mod tests;
mod writing;

use std::path::{Path, PathBuf};

use rusqlite::Connection;

pub use folders::IndexedFolder;
pub use health::{CatalogHealth, Repaired};
pub use open::FORMAT_VERSION;
pub use reading::KnownContent;
pub use writing::{Adoption, IndexedImage, SkippedFile};

use crate::embed::ModelIdentity;
use crate::error::{Error, Result};
use crate::pictures::metadata::Place;
use crate::sqlite_error::database_error;

/// Tells a full disk, a read-only place, another writer and damage from the other failures.
fn catalog_error(path: &Path, error: rusqlite::Error) -> Error {
    database_error(path, "a relens library", error)
}

/// Tells whether a file is as it was: its size and time of change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileState {
    /// In bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
}

/// A picture of the catalogue, without its vector.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogImage {
    /// The number under which its vector is indexed.
    pub id: u64,
    /// Where it lies.
    pub path: PathBuf,
    /// Its file when it was indexed.
    pub state: FileState,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// When it was taken, by the camera's clock: seconds since 1970.
    pub taken: Option<i64>,
    /// The camera.
    pub camera: Option<String>,
    /// Where it was taken.
    pub place: Option<Place>,
}

impl CatalogImage {
    /// When it was taken, or, where the file does not tell, when the file was last changed: seconds since 1970.
    pub fn date(&self) -> i64 {
        self.taken.unwrap_or(self.state.modified.div_euclid(1_000_000_000))
    }
}

/// All paths that begin with "DIRECTORY/": those between it and "DIRECTORY0", for 0 follows / in ASCII.
fn under(directory: &Path) -> [Vec<u8>; 2] {
    let mut first = path_bytes::to_bytes(directory);
    if first.last() != Some(&b'/') {
        first.push(b'/');
    }
    let mut end = first.clone();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    [first, end]
}

/// An open catalogue.
#[derive(Debug)]
pub struct Catalog {
    path: PathBuf,
    connection: Connection,
    model: ModelIdentity,
}

impl Catalog {
    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The retriever that made the vectors.
    pub fn model(&self) -> &ModelIdentity {
        &self.model
    }

    /// Refuses a retriever that did not make the vectors.
    ///
    /// # Errors
    /// [`Error::OtherModel`] with names and fingerprints.
    pub fn ensure_model(&self, fingerprint: &str) -> Result<()> {
        if self.model.fingerprint == fingerprint {
            return Ok(());
        }
        Err(Error::OtherModel {
            what: self.path.display().to_string(),
            expected: format!("{} ({})", self.model.name, self.model.fingerprint),
            found: fingerprint.to_owned(),
        })
    }

    fn failed(&self, error: rusqlite::Error) -> Error {
        catalog_error(&self.path, error)
    }

    fn corrupt(&self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        Error::Corrupt { path: self.path.clone(), expected: expected.into(), found: found.into() }
    }
}
