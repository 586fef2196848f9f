//! What a program can do with any stage of a rewriter.

use std::path::{Path, PathBuf};

use super::plan::Plan;
use crate::Result;
use crate::stages::finished_model::RunSummary;
use relens::progress::Progress;

/// The files and directories of a stage's settings.
#[derive(Debug)]
pub struct StagePaths<'a> {
    /// The run's directory.
    pub output: &'a mut PathBuf,
    /// The annotations.
    pub annotations: &'a mut PathBuf,
    /// Where the pictures lie.
    pub images: &'a mut PathBuf,
    /// The retriever, as [`RetrieverSettings::model`](super::RetrieverSettings::model) names it.
    pub retriever: &'a mut String,
    /// The rewriter that training starts from; none where it is made from scratch.
    pub start_from: Option<&'a mut PathBuf>,
    /// Files of mined queries; none where the stage reads none.
    pub mined: Option<&'a mut Vec<PathBuf>>,
}

/// A stage's configuration.
pub trait RewriterStage: Sized {
    /// Reads a TOML file. Relative paths in it are taken from the working directory.
    ///
    /// # Errors
    /// The file cannot be read, has an unknown or missing field, or a setting outside its range.
    fn read(path: &Path) -> Result<Self>;

    /// The files and directories that the settings name, to be read or changed.
    fn paths(&mut self) -> StagePaths<'_>;

    /// What the run will need; nothing is trained.
    ///
    /// # Errors
    /// A configuration or shard of the model that is missing or malformed; a broken line of the data.
    fn plan(&self) -> Result<Plan>;

    /// Trains, or goes on with a run that was interrupted, and exports the best weights.
    ///
    /// # Errors
    /// Those of the stage.
    fn run(&self, progress: &mut dyn Progress) -> Result<RunSummary>;
}
