//! Pictures inside of archives, named by the archive's path with the entry's name after it.
//!
//! `shards/00000.tar/000000012.jpg` is an entry of a tar archive, `shards/00000.parquet/000000012.jpg` the picture of a
//! row of a Parquet file.

use std::path::Path;

use crate::error::Result;
use crate::pictures::{parquet_archive, tar_archive};

/// The archive and the entry's name, if `path` leads into an archive.
fn split(path: &Path) -> Option<(&Path, String)> {
    let is_archive = |path: &Path| tar_archive::is_archive(path) || parquet_archive::is_archive(path);
    let archive = path.ancestors().skip(1).find(|ancestor| is_archive(ancestor) && ancestor.is_file())?;
    let entry = path.strip_prefix(archive).ok()?;
    Some((archive, entry.to_str()?.replace('\\', "/")))
}

/// The file that holds what is at `path`: the archive, or `path` itself.
pub(crate) fn file_of(path: &Path) -> &Path {
    split(path).map_or(path, |(archive, _)| archive)
}

/// Whether there is a file, a folder or an entry of an archive at `path`.
pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
        || split(path).is_some_and(|(archive, entry)| match tar_archive::is_archive(archive) {
            true => tar_archive::contains(archive, &entry),
            false => parquet_archive::contains(archive, &entry),
        })
}

/// The content of an entry; none if `path` does not lead into an archive.
///
/// # Errors
/// The archive cannot be read, or has no such entry.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let Some((archive, entry)) = split(path) else { return Ok(None) };
    match tar_archive::is_archive(archive) {
        true => tar_archive::read(archive, &entry).map(Some),
        false => parquet_archive::read(archive, &entry).map(Some),
    }
}
