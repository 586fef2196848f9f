//! What SQLite's errors mean to the user.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::error::Error;

/// Tells a full disk, a read-only place, another writer and damage from the other failures of a database that holds
/// `expected`.
pub(crate) fn database_error(path: &Path, expected: &str, error: rusqlite::Error) -> Error {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::DiskFull { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::Corrupt { path, expected: expected.to_owned(), found: error.to_string() }
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            Error::NotWritable { path, reason: error.to_string() }
        }
        // A quota or a limit on file sizes shows as a failed write.
        Some(ErrorCode::SystemIoFailure) if is_failed_write(&error) => Error::NotWritable {
            path,
            reason: format!("{error}; the disk or a quota may be full, what was there before is kept"),
        },
        _ => Error::Database { path, source: error },
    }
}

fn is_failed_write(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{
        SQLITE_IOERR_FSYNC, SQLITE_IOERR_SHMOPEN, SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_TRUNCATE,
        SQLITE_IOERR_WRITE,
    };
    let codes = [
        SQLITE_IOERR_WRITE,
        SQLITE_IOERR_FSYNC,
        SQLITE_IOERR_TRUNCATE,
        SQLITE_IOERR_SHMOPEN,
        SQLITE_IOERR_SHMSIZE,
    ];
    error.sqlite_error().is_some_and(|error| codes.contains(&error.extended_code))
}
