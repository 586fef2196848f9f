//! The folders that were indexed, and what becomes of their pictures when they move or are given up.

use std::path::{Path, PathBuf};

use super::path_bytes::{from_bytes, to_bytes};
use super::{Catalog, under};
use crate::error::Result;

/// A folder that was indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedFolder {
    /// Where it lies, or lay.
    pub path: PathBuf,
    /// How many of its pictures can be found.
    pub images: usize,
}

impl Catalog {
    /// Every folder that was indexed, in the order of the paths.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::error::Error::Corrupt) or [`Error::Database`](crate::error::Error::Database), as for
    /// every method here.
    pub fn folders(&self) -> Result<Vec<IndexedFolder>> {
        let read = || {
            let mut folders = self.connection.prepare("SELECT path FROM folders ORDER BY path")?;
            let mut count =
                self.connection.prepare("SELECT count(*) FROM images WHERE path >= ?1 AND path < ?2")?;
            let paths =
                folders.query_map([], |row| Ok(from_bytes(row.get_ref(0)?.as_blob().unwrap_or(&[]))))?;
            paths
                .map(|path| {
                    let path = path?;
                    let images: i64 = count.query_row(under(&path), |row| row.get(0))?;
                    Ok(IndexedFolder { path, images: usize::try_from(images).unwrap_or(0) })
                })
                .collect::<rusqlite::Result<Vec<IndexedFolder>>>()
        };
        read().map_err(|error| self.failed(error))
    }

    /// Remembers that a folder was indexed.
    ///
    /// # Errors
    /// [`Error::DiskFull`](crate::error::Error::DiskFull), [`Error::NotWritable`](crate::error::Error::NotWritable),
    /// [`Error::Busy`](crate::error::Error::Busy), as for every change.
    pub fn add_folder(&mut self, folder: &Path) -> Result<()> {
        let path = to_bytes(folder);
        self.change(|transaction| {
            transaction.execute("INSERT OR IGNORE INTO folders (path) VALUES (?1)", [path]).map(drop)
        })
    }

    /// Gives up a folder with all that is below it; the number of pictures that went.
    ///
    /// # Errors
    /// As for [`add_folder`](Self::add_folder).
    pub fn forget_folder(&mut self, folder: &Path) -> Result<usize> {
        let (path, range) = (to_bytes(folder), under(folder));
        self.change(|transaction| {
            transaction.execute(
                "DELETE FROM folders WHERE path = ?1 OR (path >= ?2 AND path < ?3)",
                (&path, &range[0], &range[1]),
            )?;
            transaction.execute("DELETE FROM skipped WHERE path >= ?1 AND path < ?2", range.clone())?;
            transaction.execute("DELETE FROM images WHERE path >= ?1 AND path < ?2", range)
        })
    }

    /// Writes `new` for `old` at the beginning of every path; the number of pictures that moved.
    ///
    /// # Errors
    /// As for [`add_folder`](Self::add_folder); a picture is there already under a new path.
    pub fn move_folder(&mut self, old: &Path, new: &Path) -> Result<usize> {
        let (from, to, range) = (to_bytes(old), to_bytes(new), under(old));
        let length = i64::try_from(from.len()).unwrap_or(i64::MAX) + 1;
        self.change(|transaction| {
            let mut moved = 0;
            for table in ["skipped", "folders", "images"] {
                // `||` makes a text of two blobs, which has to become a blob again.
                let sql = format!(
                    "UPDATE {table} SET path = CAST(?1 || substr(path, ?2) AS BLOB)
                     WHERE path = ?3 OR (path >= ?4 AND path < ?5)"
                );
                moved = transaction.execute(&sql, (&to, length, &from, &range[0], &range[1]))?;
            }
            Ok(moved)
        })
    }
}
