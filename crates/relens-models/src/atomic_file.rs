//! Files that are there whole or stay as they were, whatever happens while they are written.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

/// How the names of files end that are not complete yet.
const PARTIAL: &str = ".partial";

/// A file that takes its name when it is complete.
///
/// It is written under another name in the same directory. Dropped before [`commit`](Self::commit), it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    temporary: PathBuf,
    /// Taken by `commit`.
    file: Option<fs_err::File>,
}

impl AtomicFile {
    /// Begins a file that is to be named `path`.
    ///
    /// # Errors
    /// The directory does not take a new file.
    pub fn create(path: &Path) -> io::Result<Self> {
        // A name of its own for each writer: two that write the same file at once must not take the other's away.
        static WRITERS: AtomicU64 = AtomicU64::new(0);
        let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
        sweep_once(path);
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}-{writer}{PARTIAL}", std::process::id()));
        let temporary = PathBuf::from(temporary);
        loop {
            let file = fs_err::File::create(&temporary)?;
            // The lock tells other processes that somebody is still writing. Not every file system has locks.
            let _ = file.file().try_lock();
            // Another process may have swept the file between its creation and the lock.
            if temporary.exists() {
                return Ok(Self { path: path.to_owned(), temporary, file: Some(file) });
            }
        }
    }

    /// Waits until the file is on the disk, gives it its name, and waits until the name is, too.
    ///
    /// # Errors
    /// The disk does not take it; what had the name before is still there then.
    pub fn commit(self) -> io::Result<()> {
        self.commit_by(|temporary, path| fs_err::rename(temporary, path))
    }

    /// As [`commit`](Self::commit), but what has the name already keeps it, and this file is dropped.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit).
    pub fn commit_if_absent(self) -> io::Result<()> {
        self.commit_by(|temporary, path| match fs_err::hard_link(temporary, path) {
            Ok(()) => fs_err::remove_file(temporary),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs_err::remove_file(temporary),
            // Not every file system knows links.
            Err(_) if !path.exists() => fs_err::rename(temporary, path),
            Err(error) => Err(error),
        })
    }

    fn commit_by(mut self, give_name: impl FnOnce(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let renamed = file.sync_all().and_then(|()| {
            // Not every system renames an open file.
            drop(file);
            give_name(&self.temporary, &self.path)
        });
        match renamed {
            Ok(()) => sync_directory(directory_of(&self.path)),
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    /// The error that matters is the one before; a partial file that cannot be removed is harmless.
    fn discard(&self) {
        let _ = fs_err::remove_file(&self.temporary);
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            self.discard();
        }
    }
}

/// Writes a file at once; see [`AtomicFile`].
///
/// # Errors
/// The file cannot be written; the old one stays as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Waits until a directory's entries (new names, renames) are on the disk.
///
/// # Errors
/// The disk fails.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    // Not every system, nor every directory's permissions, let it be opened: the rename alone has to do then.
    fs_err::File::open(directory).map_or(Ok(()), |directory| directory.sync_all())
}

/// Removes what killed processes left of files that were to be named `path`; a process looks once for each name.
fn sweep_once(path: &Path) {
    static SWEPT: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);
    if SWEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned()) {
        sweep(path);
    }
}

/// What cannot be looked at or removed is harmless, and stays.
fn sweep(path: &Path) {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { return };
    let Ok(entries) = std::fs::read_dir(directory_of(path)) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        let writer = found.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
        let Some(writer) = writer.and_then(|rest| rest.strip_suffix(PARTIAL)) else { continue };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !writer.split_once('-').is_some_and(|(process, number)| is_number(process) && is_number(number)) {
            continue;
        }
        // A writer holds a lock as long as it lives; without one, nobody will finish the file.
        let is_left = entry.file_type().is_ok_and(|kind| kind.is_file())
            && std::fs::File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if is_left {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs_err::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_the_old_one_until_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.txt");
        write_atomically(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        file.flush().unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"old");
        assert_eq!(names(directory.path()).len(), 2);
        drop(file);
        assert_eq!(names(directory.path()), ["a.txt"]);
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["a.txt"]);
    }

    #[test]
    fn writers_of_one_file_do_not_take_each_others_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::thread::scope(|scope| {
            for writer in 0..8u8 {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| write_atomically(path, &[writer; 999]).unwrap()));
            }
        });
        let found = fs_err::read(&path).unwrap();
        assert!(found.len() == 999 && found.iter().all(|byte| *byte == found[0]));
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn the_first_of_two_new_files_keeps_the_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for content in [b"first", b"later"] {
            let mut file = AtomicFile::create(&path).unwrap();
            file.write_all(content).unwrap();
            file.commit_if_absent().unwrap();
            assert_eq!(fs_err::read(&path).unwrap(), b"first");
            assert_eq!(names(directory.path()), ["a"]);
        }
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_being_written_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.txt");
        let mut alive = AtomicFile::create(&path).unwrap();
        for left in ["a.txt.123-0.partial", "a.txt.4567-12.partial", "b.txt.1-0.partial", "a.txt.x-0.partial"]
        {
            fs_err::write(directory.path().join(left), "half").unwrap();
        }
        sweep(&path);
        alive.write_all(b"whole").unwrap();
        alive.commit().unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"whole");
        assert_eq!(names(directory.path()), ["a.txt", "a.txt.x-0.partial", "b.txt.1-0.partial"]);
        let other = directory.path().join("b.txt");
        write_atomically(&other, b"").unwrap();
        assert_eq!(names(directory.path()), ["a.txt", "a.txt.x-0.partial", "b.txt"]);
    }

    #[test]
    fn what_cannot_be_written_is_named_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("no/a");
        assert!(write_atomically(&missing, b"").unwrap_err().to_string().contains("no/a"));
        let taken = directory.path().join("taken");
        fs_err::create_dir_all(taken.join("inside")).unwrap();
        assert!(write_atomically(&taken, b"x").is_err());
        assert_eq!(names(directory.path()), ["taken"]);
        assert_eq!(directory_of(Path::new("a")), Path::new("."));
    }
}
