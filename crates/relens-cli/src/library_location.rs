//! Where libraries are kept.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

/// The environment variable that names relens's own directory.
pub(crate) const HOME_VARIABLE: &str = "RELENS_HOME";

/// The argument that names the library to work on.
#[derive(Debug, Args)]
pub(crate) struct LibraryArguments {
    /// The library: a directory that holds the pictures' vectors. Default: `library` inside RELENS_HOME.
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
}

impl LibraryArguments {
    /// The directory named on the command line, or the default library's.
    pub(crate) fn directory(&self) -> Result<PathBuf> {
        match &self.library {
            Some(directory) => Ok(directory.clone()),
            None => Ok(home()?.join("library")),
        }
    }
}

/// relens's own directory: `RELENS_HOME`, or the place where the system keeps users' data.
///
/// # Errors
/// When none of the environment variables that could name it is set.
pub(crate) fn home() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(HOME_VARIABLE)
        .or_else(|| set("XDG_DATA_HOME").filter(|path| path.is_absolute()).map(|path| path.join("relens")))
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/share/relens")))
        .with_context(|| {
            format!("no home directory is known: set {HOME_VARIABLE}, or name one with --library")
        })
}
