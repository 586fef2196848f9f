//! What is new, changed and gone since a directory was last indexed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ignore::{DirEntry, WalkBuilder};

use super::Library;
use crate::error::{Error, Result};
use crate::library::catalog::{Catalog, FileState};
use crate::pictures::image_files::may_be_image;
use crate::pictures::video::is_frames_directory;

/// A file that may be a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size and time of change.
    pub state: FileState,
}

/// A place that could not be looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanWarning {
    /// The place, if it is known.
    pub path: Option<PathBuf>,
    /// What the system said.
    pub reason: String,
}

/// What there is to do for a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanPlan {
    /// Files that the library does not have, in the order of their paths.
    pub new: Vec<ScannedFile>,
    /// Files that changed since they were indexed.
    pub changed: Vec<ScannedFile>,
    /// Files of the library that are gone.
    pub deleted: Vec<PathBuf>,
    /// How many pictures are as they were.
    pub unchanged: usize,
    /// How many files were left out before for what they hold, and are as they were.
    pub known_skips: usize,
    /// Places that could not be looked into; what the library has from there stays.
    pub warnings: Vec<ScanWarning>,
}

impl ScanPlan {
    /// The number of files to read.
    pub fn files_to_read(&self) -> usize {
        self.new.len() + self.changed.len()
    }
}

impl Library {
    /// Compares `root` and all that is below it with the library, and changes nothing.
    ///
    /// Hidden files are left out; symbolic links are not followed, so that a loop is no danger.
    ///
    /// # Errors
    /// [`Error::Io`] if `root` cannot be read; [`Error::Argument`] if it is no directory; those of the catalogue.
    pub fn scan(&self, root: &Path) -> Result<ScanPlan> {
        let root = fs_err::canonicalize(root)?;
        if !root.is_dir() {
            return Err(Error::Argument {
                operation: "indexing",
                expected: "a directory of pictures".to_owned(),
                found: format!("the file {}", root.display()),
            });
        }
        // Nothing is known to be gone from a directory that cannot be listed.
        drop(fs_err::read_dir(&root)?);
        scan(&self.catalog, &root)
    }
}

fn scan(catalog: &Catalog, root: &Path) -> Result<ScanPlan> {
    let indexed = catalog.images_under(root)?;
    let skipped = catalog.skipped_under(root)?;
    let mut plan = ScanPlan::default();
    let mut seen = HashSet::with_capacity(indexed.len());
    let walk = WalkBuilder::new(root)
        .standard_filters(false)
        .hidden(true)
        .follow_links(false)
        .sort_by_file_path(|left, right| left.cmp(right))
        // A folder of frames is one video: what is in it is not indexed picture by picture.
        .filter_entry(|entry| !entry.path().parent().is_some_and(is_frames_directory))
        .build();
    for entry in walk {
        match entry.map(scanned_file) {
            Err(error) => plan.warnings.push(warning(&error)),
            Ok(Err(found)) => plan.warnings.push(found),
            Ok(Ok(None)) => {}
            Ok(Ok(Some(file))) => {
                let (known, left_out) = (indexed.get(&file.path), skipped.get(&file.path));
                seen.insert(file.path.clone());
                if known == Some(&file.state) {
                    plan.unchanged += 1;
                } else if left_out == Some(&Some(file.state)) {
                    plan.known_skips += 1;
                } else if known.is_some() {
                    plan.changed.push(file);
                } else {
                    plan.new.push(file);
                }
            }
        }
    }
    let out_of_sight = |path: &Path| {
        plan.warnings.iter().any(|warning| warning.path.as_ref().is_none_or(|place| path.starts_with(place)))
    };
    let known = indexed.keys().chain(skipped.keys().filter(|path| !indexed.contains_key(*path)));
    let mut deleted: Vec<PathBuf> =
        known.filter(|path| !seen.contains(*path) && !out_of_sight(path)).cloned().collect();
    deleted.sort();
    plan.deleted = deleted;
    Ok(plan)
}

/// The file of an entry, if it may be a picture.
fn scanned_file(entry: DirEntry) -> Result<Option<ScannedFile>, ScanWarning> {
    let is_video = entry.file_type().is_some_and(|kind| kind.is_dir()) && is_frames_directory(entry.path());
    let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
    if !(is_video || is_file && may_be_image(entry.path())) {
        return Ok(None);
    }
    let metadata = entry.metadata().map_err(|error| warning(&error))?;
    let modified = metadata.modified().ok().map_or(0, |time| match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    });
    let state = FileState { size: metadata.len(), modified };
    Ok(Some(ScannedFile { path: entry.into_path(), state }))
}

fn warning(error: &ignore::Error) -> ScanWarning {
    ScanWarning { path: path_of(error).map(Path::to_owned), reason: error.to_string() }
}

/// The place that an error of the walk is about.
fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        ignore::Error::Loop { child, .. } => Some(child),
        ignore::Error::Partial(errors) => errors.iter().find_map(path_of),
        _ => None,
    }
}
