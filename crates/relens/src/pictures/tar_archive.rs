//! Files inside of tar archives: an archive's directory is read once; an entry is then read from its place, without
//! going through what lies before it.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::error::{Error, Result};

/// Entries that are not pictures or captions of reasonable size are refused before memory is set aside for them.
const LARGEST_ENTRY: u64 = 512 << 20;
/// Directories that are kept in memory; shards are read one after the other.
const KEPT_DIRECTORIES: usize = 64;

/// Where the entries of an archive lie.
#[derive(Debug, Default)]
pub(crate) struct TarDirectory {
    /// The entries' names in the archive's order.
    pub(crate) names: Vec<String>,
    places: HashMap<String, (u64, u64)>,
}

static DIRECTORIES: LazyLock<Mutex<HashMap<PathBuf, Arc<TarDirectory>>>> = LazyLock::new(Mutex::default);

/// Whether the file's name ends as an archive's does.
pub(crate) fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

/// Whether the archive has an entry of this name.
pub(crate) fn contains(archive: &Path, entry: &str) -> bool {
    directory(archive).is_ok_and(|directory| directory.places.contains_key(entry))
}

/// The content of an entry.
///
/// # Errors
/// The archive cannot be read, or has no such entry.
pub(crate) fn read(archive: &Path, entry: &str) -> Result<Vec<u8>> {
    let directory = directory(archive)?;
    let Some(&(position, size)) = directory.places.get(entry) else {
        return Err(damaged(archive, &format!("an entry `{entry}`"), "none"));
    };
    let mut file = fs_err::File::open(archive)?;
    file.seek(SeekFrom::Start(position))?;
    let mut content = Vec::new();
    file.take(size).read_to_end(&mut content)?;
    if content.len() as u64 != size {
        return Err(damaged(archive, &format!("{size} bytes of `{entry}`"), &content.len().to_string()));
    }
    Ok(content)
}

/// The directory of an archive, from memory if it was read before.
///
/// # Errors
/// The archive cannot be read or is damaged.
pub(crate) fn directory(archive: &Path) -> Result<Arc<TarDirectory>> {
    let known = || DIRECTORIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(directory) = known().get(archive) {
        return Ok(directory.clone());
    }
    let directory = Arc::new(read_directory(archive)?);
    let mut kept = known();
    if kept.len() >= KEPT_DIRECTORIES {
        kept.clear();
    }
    kept.insert(archive.to_owned(), directory.clone());
    Ok(directory)
}

fn read_directory(archive: &Path) -> Result<TarDirectory> {
    let file = fs_err::File::open(archive)?;
    let length = file.metadata()?.len();
    let mut reader = tar::Archive::new(file);
    let refuse = |error: std::io::Error| damaged(archive, "a tar archive", &error.to_string());
    let mut found = TarDirectory::default();
    for entry in reader.entries_with_seek().map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        let (position, size) = (entry.raw_file_position(), entry.size());
        if size > LARGEST_ENTRY || position.checked_add(size).is_none_or(|end| end > length) {
            return Err(damaged(
                archive,
                &format!("`{name}` within the file's {length} bytes"),
                &format!("{size} bytes at {position}"),
            ));
        }
        if found.places.insert(name.clone(), (position, size)).is_none() {
            found.names.push(name);
        }
    }
    Ok(found)
}

fn damaged(archive: &Path, expected: &str, found: &str) -> Error {
    Error::Corrupt { path: archive.to_owned(), expected: expected.to_owned(), found: found.to_owned() }
}
