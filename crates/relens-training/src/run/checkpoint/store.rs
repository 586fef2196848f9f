//! The directory of a run's checkpoints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use relens_models::atomic_file::{sync_directory, write_atomically};
use relens_models::weights::{ElementType, Weights, tensors_to_bytes};
use serde::de::DeserializeOwned;

use super::{MANIFEST, Manifest};
use crate::{Result, TrainingError};

const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const AVERAGE: &str = "average.safetensors";
const STATE: &str = "state.json";
const BEST: &str = "best";
/// The directory of checkpoints in a run's.
const CHECKPOINTS: &str = "checkpoints";

/// Prefix of directories that are being written or deleted; leftovers of a kill are swept at the next start.
const PARTIAL: &str = ".partial-";

/// Everything that a run needs to go on.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Optimizer steps done.
    pub step: u64,
    /// The trained weights.
    pub weights: BTreeMap<String, Tensor>,
    /// The optimizer's state.
    pub optimizer: BTreeMap<String, Tensor>,
    /// The moving average; empty if there is none.
    pub average: BTreeMap<String, Tensor>,
    /// The stage's own numbers: where it is in the data, the schedule and the random streams, the best so far.
    pub state: serde_json::Value,
}

impl Snapshot {
    /// The weights that are measured and exported: the averaged ones, and as they are those that have no average.
    pub fn averaged_weights(&self) -> BTreeMap<String, Tensor> {
        let mut weights = self.weights.clone();
        weights.extend(self.average.iter().map(|(name, average)| (name.clone(), average.clone())));
        weights
    }
}

/// Saves, prunes and finds the checkpoints of one run.
#[derive(Debug)]
pub struct CheckpointStore {
    directory: PathBuf,
    keep: usize,
}

impl CheckpointStore {
    /// Refuses a run's directory whose checkpoints another version of relens wrote.
    ///
    /// # Errors
    /// [`TrainingError::OtherVersion`]; a checkpoint that cannot be read.
    pub fn refuse_other_versions(run_directory: &Path) -> Result<()> {
        let directory = run_directory.join(CHECKPOINTS);
        if !directory.is_dir() {
            return Ok(());
        }
        for step in steps_in(&directory)? {
            let checkpoint = directory.join(format!("step-{step}"));
            let manifest = checkpoint.join(MANIFEST);
            if manifest.is_file() {
                Manifest::refuse_other_version(&checkpoint, &fs_err::read(&manifest)?)?;
            }
        }
        Ok(())
    }

    /// The store in `run_directory/checkpoints`; keeps the last `keep` (at least 1) and the best.
    ///
    /// # Errors
    /// The directory cannot be made or read, or an unfinished checkpoint in it cannot be removed.
    pub fn open(run_directory: &Path, keep: usize) -> Result<Self> {
        let directory = run_directory.join(CHECKPOINTS);
        fs_err::create_dir_all(&directory)?;
        for entry in fs_err::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                fs_err::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self { directory, keep: keep.max(1) })
    }

    /// Where a step's checkpoint lies.
    pub fn path(&self, step: u64) -> PathBuf {
        self.directory.join(format!("step-{step}"))
    }

    /// The stage's own numbers of a checkpoint.
    ///
    /// # Errors
    /// They are of another form than the stage's, which is told with the file.
    pub fn state_of<State: DeserializeOwned>(&self, snapshot: &Snapshot) -> Result<State> {
        State::deserialize(&snapshot.state).map_err(|error| TrainingError::Checkpoint {
            path: self.path(snapshot.step).join(STATE),
            reason: error.to_string(),
        })
    }

    /// The best checkpoint, by its step, or the last one where there is no best or it can no longer be read.
    ///
    /// # Errors
    /// Those of [`CheckpointStore::latest`].
    pub fn best_or_latest(&self, best: Option<u64>) -> Result<Option<Snapshot>> {
        match best.map(|step| self.load(step)) {
            Some(Ok(snapshot)) => return Ok(Some(snapshot)),
            Some(Err(error)) => {
                tracing::warn!(%error, "the best checkpoint cannot be read, using the last one");
            }
            None => {}
        }
        self.latest()
    }

    /// Writes a checkpoint, then removes the oldest ones that need not be kept.
    ///
    /// # Errors
    /// The disk is full or not writable: earlier checkpoints stay as they are. A weight is not finite.
    pub fn save(&self, snapshot: &Snapshot) -> Result<PathBuf> {
        let encode = |tensors| tensors_to_bytes(tensors, ElementType::F32);
        let files = [
            (WEIGHTS, encode(&snapshot.weights)?),
            (OPTIMIZER, encode(&snapshot.optimizer)?),
            (AVERAGE, encode(&snapshot.average)?),
            (STATE, serde_json::to_vec_pretty(&snapshot.state).map_err(std::io::Error::from)?),
        ];
        let target = self.path(snapshot.step);
        let temporary = self.directory.join(format!("{PARTIAL}step-{}", snapshot.step));
        if temporary.exists() {
            fs_err::remove_dir_all(&temporary)?;
        }
        fs_err::create_dir(&temporary)?;
        let written = Manifest::write(&temporary, &files);
        if let Err(error) = written {
            // The first error is the one to report; a leftover is swept at the next start.
            let _ = fs_err::remove_dir_all(&temporary);
            return Err(error);
        }
        self.discard(snapshot.step)?;
        fs_err::rename(&temporary, &target)?;
        sync_directory(&self.directory)?;
        self.prune()?;
        Ok(target)
    }

    /// The newest checkpoint that can be read, or `None` if there is none at all. Damaged ones are passed over with
    /// a warning.
    ///
    /// # Errors
    /// [`TrainingError::NoUsableCheckpoint`] if there are checkpoints and none can be read.
    pub fn latest(&self) -> Result<Option<Snapshot>> {
        let steps = self.steps()?;
        let mut last_reason = String::new();
        for &step in steps.iter().rev() {
            match self.load(step) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(error) => {
                    tracing::warn!(step, %error, "checkpoint cannot be used, trying the one before it");
                    last_reason = error.to_string();
                }
            }
        }
        if steps.is_empty() {
            return Ok(None);
        }
        Err(TrainingError::NoUsableCheckpoint {
            path: self.directory.clone(),
            found: steps.len(),
            last_reason,
        })
    }

    /// Reads one checkpoint and checks it against its manifest.
    ///
    /// # Errors
    /// There is no such checkpoint, or a file of it is missing, damaged or other than its manifest says.
    pub fn load(&self, step: u64) -> Result<Snapshot> {
        let directory = self.path(step);
        let manifest = Manifest::read(&directory)?;
        let tensors = |name: &str| -> Result<BTreeMap<String, Tensor>> {
            let bytes = manifest.read_file(&directory, name)?;
            let weights = Weights::from_bytes(directory.join(name), bytes)?;
            weights
                .names()
                .map(|name| {
                    let shape = weights.shape(name).unwrap_or_default();
                    Ok((name.to_owned(), weights.tensor(name, shape)?))
                })
                .collect()
        };
        let state = serde_json::from_slice(&manifest.read_file(&directory, STATE)?).map_err(|error| {
            TrainingError::Checkpoint { path: directory.join(STATE), reason: error.to_string() }
        })?;
        Ok(Snapshot {
            step,
            weights: tensors(WEIGHTS)?,
            optimizer: tensors(OPTIMIZER)?,
            average: tensors(AVERAGE)?,
            state,
        })
    }

    /// Names the best checkpoint, which pruning then spares; `None` if there is none yet.
    ///
    /// # Errors
    /// The note cannot be written or removed.
    pub fn mark_best(&self, step: Option<u64>) -> Result<()> {
        let path = self.directory.join(BEST);
        match step {
            Some(step) => Ok(write_atomically(&path, format!("step-{step}\n").as_bytes())?),
            None if path.exists() => Ok(fs_err::remove_file(&path)?),
            None => Ok(()),
        }
    }

    /// The step of the best checkpoint, if one was named.
    ///
    /// # Errors
    /// The note cannot be read, or names no step.
    pub fn best(&self) -> Result<Option<u64>> {
        let path = self.directory.join(BEST);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs_err::read_to_string(&path)?;
        match text.trim().strip_prefix("step-").and_then(|step| step.parse().ok()) {
            Some(step) => Ok(Some(step)),
            None => Err(TrainingError::Checkpoint {
                path,
                reason: format!("expected `step-N`, found `{}`", text.trim()),
            }),
        }
    }

    /// The steps of all checkpoints, ascending.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn steps(&self) -> Result<Vec<u64>> {
        steps_in(&self.directory)
    }

    fn prune(&self) -> Result<()> {
        let steps = self.steps()?;
        let best = self.best()?;
        let surplus = steps.len().saturating_sub(self.keep);
        for &step in steps.iter().take(surplus).filter(|&&step| Some(step) != best) {
            self.discard(step)?;
        }
        Ok(())
    }

    /// Takes a checkpoint's name away first, so that a kill never leaves half of one under it.
    fn discard(&self, step: u64) -> Result<()> {
        let path = self.path(step);
        if path.exists() {
            let doomed = self.directory.join(format!("{PARTIAL}discarded-{step}"));
            if doomed.exists() {
                fs_err::remove_dir_all(&doomed)?;
            }
            fs_err::rename(&path, &doomed)?;
            fs_err::remove_dir_all(&doomed)?;
        }
        Ok(())
    }
}

/// The steps of all checkpoints in a directory, ascending.
fn steps_in(directory: &Path) -> Result<Vec<u64>> {
    let mut steps = Vec::new();
    for entry in fs_err::read_dir(directory)? {
        let name = entry?.file_name();
        if let Some(step) = name.to_str().and_then(|name| name.strip_prefix("step-")?.parse().ok()) {
            steps.push(step);
        }
    }
    steps.sort_unstable();
    Ok(steps)
}
