//! Checkpoints that survive a kill at any moment, and from which a run continues with the same bytes.
//!
//! ```text
//! checkpoints/
//!   step-400/
//!     weights.safetensors     what is trained, in the checkpoint's layout
//!     optimizer.safetensors   AdamW's moments
//!     average.safetensors     moving average of the weights (empty without one)
//!     state.json              step, schedule and data position, random state, the stage's own numbers
//!     manifest.json           length and SHA-256 of the files above
//!   best                      the name of the best checkpoint: "step-400"
//! ```
//!
//! A checkpoint is written under a temporary name, synced, and renamed: it is there whole or not at all. One that was
//! damaged later is noticed by its manifest, and the one before it is used.

mod store;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use relens_models::atomic_file::sync_directory;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Result, TrainingError};

pub use store::{CheckpointStore, Snapshot};

/// The file's name.
const MANIFEST: &str = "manifest.json";

/// Version of the checkpoint format.
const FORMAT_VERSION: u32 = 2;

/// Length and hash of every file of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format_version: u32,
    files: BTreeMap<String, FileRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRecord {
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Writes the files and then the manifest into `directory`, all synced to disk.
    fn write(directory: &Path, files: &[(&str, Vec<u8>)]) -> Result<()> {
        let mut records = BTreeMap::new();
        for (name, bytes) in files {
            write_synced(&directory.join(name), bytes)?;
            let record = FileRecord { bytes: bytes.len() as u64, sha256: hash(bytes) };
            records.insert((*name).to_owned(), record);
        }
        let manifest = Self { format_version: FORMAT_VERSION, files: records };
        let text = serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::from)?;
        write_synced(&directory.join(MANIFEST), &text)?;
        Ok(sync_directory(directory)?)
    }

    /// Reads the manifest of `directory`.
    fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(MANIFEST);
        let bytes = fs_err::read(&path)?;
        Self::refuse_other_version(directory, &bytes)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| TrainingError::Checkpoint { path: path.clone(), reason: error.to_string() })
    }

    /// Refuses the checkpoint in `directory` if another version of relens wrote it; one that is damaged is let pass.
    fn refuse_other_version(directory: &Path, manifest: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        match serde_json::from_slice::<Version>(manifest) {
            Ok(Version { format_version }) if format_version != FORMAT_VERSION => {
                Err(TrainingError::OtherVersion {
                    path: directory.to_owned(),
                    expected: FORMAT_VERSION,
                    found: format_version,
                })
            }
            _ => Ok(()),
        }
    }

    /// Reads a file, if it is still what was written.
    fn read_file(&self, directory: &Path, name: &str) -> Result<Vec<u8>> {
        let path = directory.join(name);
        let damaged = |reason: String| TrainingError::Checkpoint { path: path.clone(), reason };
        let record = self.files.get(name).ok_or_else(|| damaged("not in the manifest".into()))?;
        let bytes = fs_err::read(&path)?;
        if bytes.len() as u64 != record.bytes {
            return Err(damaged(format!("{} bytes, expected {}", bytes.len(), record.bytes)));
        }
        let found = hash(&bytes);
        if found != record.sha256 {
            return Err(damaged(format!("SHA-256 {found}, expected {}", record.sha256)));
        }
        Ok(bytes)
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file and waits until it is on disk.
fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = fs_err::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}
