//! Files that are there whole or stay as they were.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a file under another name, then renames it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let named = || format!("{}: cannot be written", path.display());
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(named)?;
    file.write_all(bytes).with_context(named)?;
    file.as_file().sync_all().with_context(named)?;
    file.persist(path).map_err(|failed| failed.error).with_context(named)?;
    Ok(())
}
