//! What a failed write means to the user.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::Error;

/// Tells a full disk and a missing permission from the other reasons for which `path` could not be written.
pub(crate) fn write_error(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Error::DiskFull { path: path.to_owned() }
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::NotWritable { path: path.to_owned(), reason: error.to_string() }
        }
        kind => Error::Io(io::Error::new(kind, format!("{}: {error}", path.display()))),
    }
}
