//! What a program can do with any stage of a rewriter.

use std::path::{Path, PathBuf};

use super::learning::RunSummary;
use crate::Result;
use crate::progress::Progress;

/// A stage's configuration.
pub trait RewriterStage: Sized {
    /// Reads a TOML file. Relative paths in it are taken from the working directory.
    ///
    /// # Errors
    /// The file cannot be read, has an unknown or missing field, or a setting outside its range.
    fn read(path: &Path) -> Result<Self>;

    /// The run's directory, to be read or changed.
    fn output(&mut self) -> &mut PathBuf;

    /// Trains, or goes on with a run that was interrupted, and exports the best weights.
    ///
    /// # Errors
    /// Those of the stage.
    fn run(&self, progress: &mut dyn Progress) -> Result<RunSummary>;
}
