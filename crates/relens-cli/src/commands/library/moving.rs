//! `relens library forget` and `move`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use relens::library::Library;

use crate::library_location::LibraryArguments;
use crate::output::Output;
use relens::counted::counted;

/// Take a folder and all that is below it out of the library; its files stay as they are.
#[derive(Debug, Args)]
pub(crate) struct ForgetArguments {
    /// The folder, which need not be there any more.
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    #[command(flatten)]
    library: LibraryArguments,
}

impl ForgetArguments {
    pub(crate) fn run(self) -> Result<()> {
        let folder = absolute(&self.directory)?;
        let mut library = self.library.open_to_change()?;
        ensure_known(&library, &folder)?;
        let forgotten = library.catalog_mut().forget_folder(&folder)?;
        tell(forgotten, &format!("forgotten, of {}", folder.display()))
    }
}

/// Tell the library that a folder lies elsewhere now; nothing is embedded again.
///
/// Indexing the new place does the same for pictures that it finds by their content; this is for whole folders, and
/// for drives that come back under another name.
#[derive(Debug, Args)]
pub(crate) struct MoveArguments {
    /// Where the folder was.
    #[arg(value_name = "OLD")]
    old: PathBuf,

    /// Where it is.
    #[arg(value_name = "NEW")]
    new: PathBuf,

    #[command(flatten)]
    library: LibraryArguments,
}

impl MoveArguments {
    pub(crate) fn run(self) -> Result<()> {
        let (old, new) = (absolute(&self.old)?, absolute(&self.new)?);
        if !new.is_dir() {
            bail!("{}: expected the folder's new place, found no directory", new.display());
        }
        let mut library = self.library.open_to_change()?;
        ensure_known(&library, &old)?;
        let there = library.catalog().images_under(&new)?.len();
        if there > 0 {
            bail!(
                "{}: expected a place that is not indexed, found {there} of its pictures in the library",
                new.display()
            );
        }
        let moved = library.catalog_mut().move_folder(&old, &new)?;
        tell(moved, &format!("moved to {}", new.display()))
    }
}

/// The path as the library has it: links are resolved where they lead anywhere.
fn absolute(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        return Ok(fs_err::canonicalize(path)?);
    }
    let mut plain = PathBuf::new();
    for part in std::path::absolute(path)?.components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    Ok(plain)
}

fn ensure_known(library: &Library, folder: &Path) -> Result<()> {
    let catalog = library.catalog();
    let is_known = catalog.folders()?.iter().any(|known| known.path.starts_with(folder))
        || !catalog.images_under(folder)?.is_empty()
        || !catalog.skipped_under(folder)?.is_empty();
    if !is_known {
        bail!("{}: the library has nothing of this folder; see `relens library list`", folder.display());
    }
    Ok(())
}

fn tell(count: usize, what: &str) -> Result<()> {
    let mut output = Output::new();
    writeln!(output.writer, "{} {what}", counted(count, "picture"))?;
    Ok(output.writer.flush()?)
}
