//! The records of a recipe's finished stages, in `.recipe` inside its directory.

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::output_file::write_whole;

const RECORDS: &str = ".recipe";

/// Everything that a stage's outputs depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ingredients {
    /// The relens that runs it.
    pub(crate) version: String,
    pub(crate) command: Vec<String>,
    /// The content of its inputs.
    pub(crate) inputs: BTreeMap<PathBuf, String>,
    /// The fingerprints of the stages that it hangs on.
    pub(crate) upstream: BTreeMap<String, String>,
}

impl Ingredients {
    /// One hash of all.
    pub(crate) fn fingerprint(&self) -> Result<String> {
        Ok(blake3::hash(&serde_json::to_vec(self)?).to_hex().to_string())
    }
}

/// A stage that was started, and perhaps finished.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StageRecord {
    pub(crate) ingredients: Ingredients,
    /// The content of its outputs, once it is finished.
    pub(crate) outputs: Option<BTreeMap<PathBuf, String>>,
    /// How long it took, all attempts together.
    pub(crate) seconds: f64,
}

/// The records of a recipe.
#[derive(Debug)]
pub(crate) struct Records {
    directory: PathBuf,
}

impl Records {
    /// Those in the recipe's directory, which need not exist.
    pub(crate) fn of(directory: &Path) -> Self {
        Self { directory: directory.join(RECORDS) }
    }

    /// Where hashes of files are remembered.
    pub(crate) fn digests(&self) -> PathBuf {
        self.directory.join("digests.json")
    }

    /// What a stage printed.
    pub(crate) fn log(&self, stage: &str) -> PathBuf {
        self.directory.join(format!("{stage}.out"))
    }

    fn record(&self, stage: &str) -> PathBuf {
        self.directory.join(format!("{stage}.json"))
    }

    /// The record of a stage. One that cannot be read counts as missing: the stage runs again.
    pub(crate) fn read(&self, stage: &str) -> Option<StageRecord> {
        serde_json::from_slice(&fs_err::read(self.record(stage)).ok()?).ok()
    }

    pub(crate) fn write(&self, stage: &str, record: &StageRecord) -> Result<()> {
        write_whole(&self.record(stage), &serde_json::to_vec_pretty(record)?)
    }

    /// Takes the recipe's directory for this process; the lock is held as long as any copy of the file is open.
    pub(crate) fn lock(&self) -> Result<std::fs::File> {
        fs_err::create_dir_all(&self.directory)?;
        let path = self.directory.join("lock");
        let file = std::fs::File::create(&path).with_context(|| format!("{}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => bail!(
                "{}: another run of this recipe, or a stage that it left behind, is still at work; wait for it or stop it",
                path.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{}", path.display())),
        }
    }
}
