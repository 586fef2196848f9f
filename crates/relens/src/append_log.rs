//! A text file that only ever grows: one record a line, whole lines or nothing.
//!
//! A process that is killed while it writes leaves a torn last line at most, which the next [`AppendLog::open`] takes
//! away. Two processes cannot write to one log at the same time.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::dataset::text_lines::broken_line;
use crate::error::{Error, Result};

/// How much is read at a time when the end of the last whole line is looked for.
const TAIL_BLOCK: u64 = 64 << 10;

/// A line of a log.
#[derive(Debug, Clone, Copy)]
pub struct LoggedLine<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// The byte at which it begins.
    pub offset: u64,
    /// Its text, without the line end.
    pub text: &'a str,
}

/// A log that is open for appending, locked by this process.
#[derive(Debug)]
pub struct AppendLog {
    path: PathBuf,
    file: fs_err::File,
    length: u64,
}

impl AppendLog {
    /// Opens or creates the log, cuts off a torn last line, and shows `visit` every line that is there.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it open; [`Error::Dataset`] with the line's number for lines that are no
    /// text; whatever `visit` returns; [`Error::Io`].
    pub fn open(path: &Path, mut visit: impl FnMut(LoggedLine<'_>) -> Result<()>) -> Result<Self> {
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs_err::create_dir_all(directory)?;
        }
        let mut file =
            fs_err::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // Two writers would tear each other's lines; the lock goes with the process, however it ends.
        match file.file().try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(Error::Busy { path: path.to_owned() }),
            Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        let length = whole_lines(&mut file)?;
        if length < file.metadata()?.len() {
            tracing::info!("{}: a torn last line was cut off", path.display());
            file.set_len(length)?;
        }
        file.seek(SeekFrom::Start(0))?;
        for_each_line(path, &file, &mut visit)?;
        file.seek(SeekFrom::Start(length))?;
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes: where the next line begins.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends one line in a single write; it is with the operating system when this returns, so that a killed process
    /// does not lose it.
    ///
    /// # Errors
    /// [`Error::Argument`] if `line` has a line end in it; [`Error::Io`], and then nothing of the line stays.
    pub fn append(&mut self, line: &str) -> Result<()> {
        if line.contains(['\n', '\r']) {
            return Err(Error::Argument {
                operation: "AppendLog::append",
                expected: "one line".to_owned(),
                found: "a line end in it".to_owned(),
            });
        }
        // One write for line and end, so that a kill leaves a whole line or one without an end, which opening cuts
        // off.
        let bytes = [line.as_bytes(), b"\n"].concat();
        if let Err(error) = self.file.write_all(&bytes).and_then(|()| self.file.flush()) {
            // A full disk may have taken half of the line.
            let _ =
                self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            return Err(error.into());
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Waits until everything is on the disk, so that a power failure does not lose it either.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }
}

fn for_each_line(
    path: &Path,
    file: &fs_err::File,
    visit: &mut impl FnMut(LoggedLine<'_>) -> Result<()>,
) -> Result<()> {
    let mut reader = BufReader::new(file.file());
    let (mut bytes, mut offset) = (Vec::new(), 0);
    for number in 1.. {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes)? as u64;
        if read == 0 {
            break;
        }
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let text =
            std::str::from_utf8(line).map_err(|_| broken_line(path, number, "UTF-8 text", "other bytes"))?;
        visit(LoggedLine { number, offset, text })?;
        offset += read;
    }
    Ok(())
}

/// The length of `file` up to and including its last line end.
fn whole_lines(file: &mut fs_err::File) -> Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        // From behind: a log of gigabytes has its last line end near its end.
        let start = end.saturating_sub(TAIL_BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        (&mut *file).take(end - start).read_to_end(&mut block)?;
        if let Some(position) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + position as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        AppendLog::open(path, |line| {
            lines.push(line.text.to_owned());
            Ok(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn a_torn_line_is_cut_off_wherever_the_kill_came() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/log.jsonl");
        let whole = "{\"a\":1}\n{\"b\":\"ü\"}\n";
        for cut in 0..=whole.len() {
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(&path, &whole.as_bytes()[..cut]).unwrap();
            let expected = whole.as_bytes()[..cut].iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(lines(&path).len(), expected, "cut at {cut}");
            AppendLog::open(&path, |_| Ok(())).unwrap().append("{\"c\":2}").unwrap();
            assert_eq!(lines(&path).last().unwrap(), "{\"c\":2}", "cut at {cut}");
        }
    }

    #[test]
    fn a_long_torn_line_is_cut_off_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs_err::write(&path, format!("first\n{}", "x".repeat(3 * TAIL_BLOCK as usize))).unwrap();
        assert_eq!(lines(&path), ["first"]);
    }

    #[test]
    fn one_process_writes_and_line_ends_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = AppendLog::open(&path, |_| Ok(())).unwrap();
        assert!(matches!(AppendLog::open(&path, |_| Ok(())), Err(Error::Busy { .. })));
        assert!(log.append("a\nb").is_err());
        assert_eq!(log.length(), 0);
    }
}
