//! Files that are there whole or stay as they were.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use relens::error::Error;
use relens_models::atomic_file::AtomicFile;

/// Writes a file under another name, then renames it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_streaming(path, |writer| Ok(writer.write_all(bytes)?))
}

/// The same, a piece at a time.
pub(crate) fn write_streaming(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<AtomicFile>) -> Result<()>,
) -> Result<()> {
    let named = || format!("{}: cannot be written", path.display());
    let mut writer = BufWriter::new(AtomicFile::create(path).with_context(named)?);
    write(&mut writer).map_err(|error| match error.downcast_ref() {
        // It could be written, but is not wanted any more.
        Some(Error::Cancelled) => error,
        _ => error.context(named()),
    })?;
    let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(named)?;
    file.commit().with_context(named)
}
