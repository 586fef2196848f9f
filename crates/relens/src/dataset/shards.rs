//! Data sets that lie in one archive, or in a folder of archives.

use std::path::{Path, PathBuf};

use crate::error::Result;

/// Whether `path` is an archive, or a folder with archives in it; `is_archive` knows the kind.
pub(super) fn has_shards(path: &Path, is_archive: fn(&Path) -> bool) -> bool {
    if path.is_dir() {
        shards(path, is_archive).is_ok_and(|shards| !shards.is_empty())
    } else {
        is_archive(path)
    }
}

/// The archives of a folder by name, or the one archive.
pub(super) fn shards(path: &Path, is_archive: fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut shards = Vec::new();
    for entry in fs_err::read_dir(path)? {
        let path = entry?.path();
        if is_archive(&path) {
            shards.push(path);
        }
    }
    shards.sort();
    Ok(shards)
}
