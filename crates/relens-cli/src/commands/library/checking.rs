//! `relens library check` and `repair`.

use std::io::Write;

use anyhow::{Result, bail};
use clap::Args;
use relens::library::Library;

use crate::library_location::LibraryArguments;
use crate::output::Output;
use relens::counted::{by_number, counted};

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
        writeln!(writer, "{}, {}", counted(found.images, "picture"), counted(found.vectors, "vector"))?;
        let files = by_number(&found.missing, "file is", "files are");
        writeln!(writer, "{} whose {files} missing", counted(found.missing, "picture"))?;
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
/// What cannot be read is embedded again by the next `relens index`. A library that is whole stays as it is.
#[derive(Debug, Args)]
pub(crate) struct RepairArguments {
    #[command(flatten)]
    library: LibraryArguments,
}

impl RepairArguments {
    pub(crate) fn run(self) -> Result<()> {
        let mut output = Output::new();
        match Library::repair(&self.library.directory()?)? {
            None => writeln!(output.writer, "the library is whole: there is nothing to repair")?,
            Some(repaired) => {
                writeln!(
                    output.writer,
                    "{} saved, {} lost",
                    counted(repaired.saved, "picture"),
                    repaired.lost
                )?;
                writeln!(output.writer, "the damaged library is kept as {}", repaired.damaged.display())?;
            }
        }
        Ok(output.writer.flush()?)
    }
}
