//! Where libraries are kept.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

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
}
