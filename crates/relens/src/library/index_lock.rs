//! One run at a time fills a library.

use std::fs::TryLockError;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::storage_error::write_error;

/// The file that whoever fills the library holds, with who it is in it.
const LOCK_FILE: &str = "indexing.lock";
/// How often somebody who waits looks again.
const WAIT: Duration = Duration::from_millis(200);

/// The right to fill a library, until it is dropped.
#[derive(Debug)]
pub struct IndexLock {
    _file: fs_err::File,
}

impl IndexLock {
    /// Takes the right to fill the library in `directory`. While another process has it, `wait` is told who that is, and
    /// says whether to go on waiting.
    ///
    /// # Errors
    /// [`Error::NotWritable`]; [`Error::Cancelled`] if `wait` gives up.
    pub(super) fn acquire(directory: &Path, mut wait: impl FnMut(&str) -> bool) -> Result<Self> {
        let path = directory.join(LOCK_FILE);
        let failed = |error: std::io::Error| write_error(&path, &error);
        let mut file = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        loop {
            match file.file().try_lock() {
                Ok(()) => break,
                // Not every file system has locks; SQLite's own keep the library whole there, too.
                Err(TryLockError::Error(_)) => break,
                Err(TryLockError::WouldBlock) => {
                    let mut who = String::new();
                    file.seek(SeekFrom::Start(0)).map_err(failed)?;
                    (&mut file).take(64).read_to_string(&mut who).map_err(failed)?;
                    if !wait(who.trim()) {
                        return Err(Error::Cancelled);
                    }
                    std::thread::sleep(WAIT);
                }
            }
        }
        file.set_len(0).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        write!(file, "process {}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}
