//! `relens library check` and `repair`.

use std::io::Write;

use anyhow::{Result, bail};
use clap::Args;
use relens::library::Library;

use crate::library_location::LibraryArguments;
use crate::output::Output;

/// Read the whole library and every picture's place, and say what is wrong.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    library: LibraryArguments,
}

impl CheckArguments {
    pub(crate) fn run(self) -> Result<()> {
        let library = self.library.open()?;
        let found = library.catalog().check()?;
        let mut output = Output::new();
        let writer = &mut output.writer;
        writeln!(writer, "{} pictures, {} vectors", found.images, found.vectors)?;
        writeln!(writer, "{} pictures whose files are missing", found.missing)?;
        for fault in &found.faults {
            writeln!(writer, "fault: {fault}")?;
        }
        writer.flush()?;
        if !found.faults.is_empty() {
            bail!("the library is damaged; `relens library repair` saves what can be read");
        }
        writeln!(output.writer, "the library is whole")?;
        Ok(output.writer.flush()?)
    }
}

/// Save what can be read of a damaged library into a new one; the damaged one is kept beside it.
///
/// What cannot be read is embedded again by the next `relens index`.
#[derive(Debug, Args)]
pub(crate) struct RepairArguments {
    #[command(flatten)]
    library: LibraryArguments,
}

impl RepairArguments {
    pub(crate) fn run(self) -> Result<()> {
        let saved = Library::repair(&self.library.directory()?)?;
        let mut output = Output::new();
        writeln!(output.writer, "{} pictures saved, {} lost", saved.saved, saved.lost)?;
        writeln!(output.writer, "the damaged library is kept as {}", saved.damaged.display())?;
        Ok(output.writer.flush()?)
    }
}
