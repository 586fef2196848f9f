//! Files that anybody may have put there, read within a limit.
//!
//! A pipe in the place of a file would be waited for without end, and a device such as `/dev/zero` never ends: only
//! regular files are opened, and what is read whole has a largest size for its kind.

use std::io::{self, Read};
use std::path::Path;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a file holds, which decides how large it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A configuration, a recipe, a model's settings: at most 16 MiB.
    Settings,
    /// A vocabulary, a tokenizer, a list of words: at most 256 MiB.
    Vocabulary,
    /// Results, logs, knowledge, annotations that are read whole: at most 1 GiB.
    Records,
    /// Something small among many others, such as one picture's captions or one metadata file: at most 4 MiB.
    Sidecar,
}

impl FileKind {
    /// The most bytes of such a file.
    pub const fn limit(self) -> u64 {
        match self {
            Self::Settings => 16 << 20,
            Self::Vocabulary => 256 << 20,
            Self::Records => 1 << 30,
            Self::Sidecar => 4 << 20,
        }
    }
}

/// Opens a regular file, or a link to one.
///
/// # Errors
/// There is none, it cannot be read, or it is a directory, a pipe, a socket or a device.
pub fn open(path: &Path) -> io::Result<fs_err::File> {
    // Asked before it is opened: to open a pipe is to wait for its writer. What is missing is told by `open`.
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(irregular(path));
    }
    let file = fs_err::File::open(path)?;
    // Somebody may have changed it in between.
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular(path)) }
}

/// The content of a regular file that is not larger than its kind may be, without the byte-order mark that some
/// editors put before a text.
///
/// # Errors
/// Those of [`open`]; the file is too large.
pub fn read(path: &Path, kind: FileKind) -> io::Result<Vec<u8>> {
    let mut bytes = read_at_most(path, kind.limit())?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// All bytes of a regular file of at most `limit` bytes.
///
/// # Errors
/// As [`read`].
pub fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    let too_large = |found: u64| {
        let message = format!("{}: expected at most {limit} bytes, found {found}", path.display());
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    };
    if length > limit {
        return Err(too_large(length));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // A file that grows while it is read must not get past the limit.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

/// As [`read`], as text.
///
/// # Errors
/// As [`read`]; the file is not UTF-8.
pub fn read_to_string(path: &Path, kind: FileKind) -> io::Result<String> {
    String::from_utf8(read(path, kind)?).map_err(|error| {
        let column = error.utf8_error().valid_up_to();
        let message = format!("{}: expected UTF-8 text, found other bytes at byte {column}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

fn irregular(path: &Path) -> io::Error {
    let found = if path.is_dir() { "a directory" } else { "a pipe, a socket or a device" };
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: expected a file, found {found}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_within_its_limit_and_without_its_mark() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        fs_err::write(&path, "\u{feff}a = 1").unwrap();
        assert_eq!(read_to_string(&path, FileKind::Settings).unwrap(), "a = 1");
        assert_eq!(read_at_most(&path, 8).unwrap().len(), 8);
        let message = read_at_most(&path, 7).unwrap_err().to_string();
        assert!(message.ends_with("a.toml: expected at most 7 bytes, found 8"), "{message}");
        fs_err::write(&path, b"a\xff").unwrap();
        let message = read_to_string(&path, FileKind::Settings).unwrap_err().to_string();
        assert!(message.contains("expected UTF-8 text, found other bytes at byte 1"), "{message}");
        let message = read(&directory.path().join("none"), FileKind::Sidecar).unwrap_err().to_string();
        assert!(message.contains("none"), "{message}");
        let message = read(directory.path(), FileKind::Sidecar).unwrap_err().to_string();
        assert!(message.ends_with("expected a file, found a directory"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn what_never_ends_is_refused_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            let message = read(path, FileKind::Settings).unwrap_err().to_string();
            assert!(message.ends_with("expected a file, found a pipe, a socket or a device"), "{message}");
        }
    }
}
