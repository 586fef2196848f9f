//! Where libraries are kept.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use relens::error::Error;
use relens::library::Library;

pub(crate) use crate::settings::home;
use crate::settings::settings;

/// The argument that names the library to work on.
#[derive(Debug, Args)]
pub(crate) struct LibraryArguments {
    /// The library: a directory that holds the pictures' vectors. Default: the one that is
    /// set (`relens config`), or else `library` inside RELENS_HOME.
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
}

impl LibraryArguments {
    /// The directory named on the command line, or the default library's.
    pub(crate) fn directory(&self) -> Result<PathBuf> {
        match self.library.as_ref().or(settings()?.library.as_ref()) {
            Some(directory) => Ok(directory.clone()),
            None => Ok(home()?.join("library")),
        }
    }

    /// The library that lies there.
    ///
    /// # Errors
    /// There is none, or it is damaged; then the message says what to type.
    pub(crate) fn open(&self) -> Result<Library> {
        let directory = self.directory()?;
        Library::open(&directory).map_err(|error| with_remedy(&directory, error))
    }

    /// The same, to change it.
    ///
    /// # Errors
    /// As [`LibraryArguments::open`], and where it cannot be written.
    pub(crate) fn open_to_change(&self) -> Result<Library> {
        let directory = self.directory()?;
        Library::open_to_change(&directory).map_err(|error| with_remedy(&directory, error))
    }
}

/// Says what to type where a library cannot be used as it is.
pub(crate) fn with_remedy(directory: &Path, error: Error) -> anyhow::Error {
    let remedy = match &error {
        Error::OtherModel { .. } => {
            "; --rebuild indexes it anew by this model, --library DIR names another library, and --model the one that \
             made it"
        }
        Error::Corrupt { .. } => {
            "; `relens library repair` saves what can be read, `relens index DIR --rebuild` indexes it anew"
        }
        _ => return error.into(),
    };
    let message = format!("the library {} cannot be used{remedy}", directory.display());
    anyhow::Error::from(error).context(message)
}
