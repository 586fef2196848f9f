//! A hash of the content of a file or a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use relens_models::regular_file::{self, FileKind};
use serde::{Deserialize, Serialize};

use crate::output_file::write_whole;

/// A file that was written this shortly before it was hashed may change again within its time stamp.
const SETTLED: Duration = Duration::from_secs(2);

/// Hashes of files, remembered by length and time of change, so that a thousand pictures are read once.
#[derive(Debug)]
pub(crate) struct Digests {
    path: PathBuf,
    known: BTreeMap<PathBuf, KnownFile>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct KnownFile {
    length: u64,
    modified_nanoseconds: u128,
    digest: String,
}

impl Digests {
    /// Those remembered in a file, which need not exist.
    pub(crate) fn open(path: PathBuf) -> Self {
        let known = regular_file::read(&path, FileKind::Records)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path, known: known.unwrap_or_default() }
    }

    /// Remembers them for the next time.
    pub(crate) fn save(&self) -> Result<()> {
        write_whole(&self.path, &serde_json::to_vec(&self.known)?)
    }

    /// The hash of a file's content, or of the names and contents of all files in a directory; nothing if there is
    /// neither.
    pub(crate) fn of(&mut self, path: &Path) -> Result<Option<String>> {
        if path.is_file() {
            return self.of_file(path).map(Some);
        }
        if !path.is_dir() {
            return Ok(None);
        }
        let mut hasher = blake3::Hasher::new();
        let mut files = Vec::new();
        collect(path, &mut files)?;
        files.sort();
        for file in files {
            let name = file.strip_prefix(path).unwrap_or(&file);
            hasher.update(name.as_os_str().as_encoded_bytes());
            hasher.update(&[0]);
            hasher.update(self.of_file(&file)?.as_bytes());
        }
        Ok(Some(hasher.finalize().to_hex().to_string()))
    }

    fn of_file(&mut self, path: &Path) -> Result<String> {
        let metadata = fs_err::metadata(path)?;
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
        let modified_nanoseconds = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let length = metadata.len();
        if let Some(known) = self.known.get(path)
            && known.length == length
            && known.modified_nanoseconds == modified_nanoseconds
        {
            return Ok(known.digest.clone());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_mmap_rayon(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        let digest = hasher.finalize().to_hex().to_string();
        if SystemTime::now().duration_since(modified).is_ok_and(|age| age > SETTLED) {
            let known = KnownFile { length, modified_nanoseconds, digest: digest.clone() };
            self.known.insert(path.to_owned(), known);
        }
        Ok(digest)
    }
}

/// All files below a directory. Locks are no content.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if entry.file_name() != ".lock" {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_count_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        let mut digests = Digests::open(place("digests.json"));
        assert_eq!(digests.of(&place("none")).unwrap(), None);
        for name in ["a/x/one", "b/x/one"] {
            fs_err::create_dir_all(place(name).parent().unwrap()).unwrap();
            fs_err::write(place(name), "content").unwrap();
        }
        fs_err::write(place("b/.lock"), "").unwrap();
        let [a, b] = ["a", "b"].map(|name| digests.of(&place(name)).unwrap().unwrap());
        assert_eq!(a, b);
        fs_err::write(place("b/x/one"), "Content").unwrap();
        assert_ne!(digests.of(&place("b")).unwrap().unwrap(), a);
        fs_err::rename(place("a/x/one"), place("a/x/two")).unwrap();
        assert_ne!(digests.of(&place("a")).unwrap().unwrap(), a);
    }

    #[test]
    fn an_old_file_is_read_once_and_a_fresh_one_each_time() {
        let root = tempfile::tempdir().unwrap();
        let (file, store) = (root.path().join("file"), root.path().join("digests.json"));
        fs_err::write(&file, "one").unwrap();
        let mut digests = Digests::open(store.clone());
        let first = digests.of(&file).unwrap();
        assert!(digests.known.is_empty());
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        fs_err::File::options().write(true).open(&file).unwrap().file().set_modified(long_ago).unwrap();
        assert_eq!(digests.of(&file).unwrap(), first);
        digests.save().unwrap();
        assert_eq!(Digests::open(store).known.len(), 1);
    }
}
