//! What is new, changed and gone since a directory was last indexed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use ignore::{DirEntry, WalkBuilder};

use super::{IndexingOptions, Library, content};
use crate::error::{Error, Result};
use crate::library::catalog::{Catalog, FileState};
use crate::pictures::formats::PictureFormat;
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
    /// Files that are passed over without being opened.
    pub passed_over: PassedOver,
    /// Indexed folders in which nothing is found any more; what the library has of them stays.
    pub kept: Vec<KeptFolder>,
}

/// Files that are passed over, by the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PassedOver {
    /// Pictures and videos in formats that are not read here: for each ending, how many there are and what to do.
    pub unread: BTreeMap<String, (usize, &'static str)>,
    /// Symbolic links, where they are not followed.
    pub links: usize,
    /// Pipes, sockets and devices.
    pub special: usize,
    /// Files and folders whose names begin with a dot.
    pub hidden: usize,
    /// Files that are no pictures.
    pub others: usize,
}

/// A folder that was indexed and is empty or missing now, as when a drive is unplugged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFolder {
    /// Where it was.
    pub path: PathBuf,
    /// How many of its pictures the library keeps.
    pub images: usize,
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
    /// Hidden files and folders are counted and left out. Symbolic links are counted, or followed where the options say so; loops are no danger.
    ///
    /// # Errors
    /// [`Error::Io`] if `root` cannot be read; [`Error::Argument`] if it is no directory; those of the catalogue.
    pub fn scan(&self, root: &Path, options: &IndexingOptions) -> Result<ScanPlan> {
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
        scan(&self.catalog, &root, options)
    }
}

fn scan(catalog: &Catalog, root: &Path, options: &IndexingOptions) -> Result<ScanPlan> {
    let indexed = catalog.images_under(root)?;
    let skipped = catalog.skipped_under(root)?;
    let fingerprints = if options.verify { catalog.fingerprints_under(root)? } else { HashMap::new() };
    let mut plan = ScanPlan::default();
    let mut seen = HashSet::with_capacity(indexed.len());
    let hidden = Arc::new(AtomicUsize::new(0));
    let counted = hidden.clone();
    let walk = WalkBuilder::new(root)
        .standard_filters(false)
        .follow_links(options.follow_links)
        .sort_by_file_path(|left, right| left.cmp(right))
        // A folder of frames is one video: what is in it is not indexed picture by picture.
        .filter_entry(move |entry| {
            if entry.path().parent().is_some_and(is_frames_directory) {
                return false;
            }
            let is_hidden = entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".");
            counted.fetch_add(usize::from(is_hidden), Ordering::Relaxed);
            !is_hidden
        })
        .build();
    for entry in walk {
        match entry.map(|entry| scanned_file(entry, &mut plan.passed_over)) {
            Err(error) => plan.warnings.push(warning(&error)),
            Ok(Err(found)) => plan.warnings.push(found),
            Ok(Ok(None)) => {}
            Ok(Ok(Some(file))) => {
                let (known, left_out) = (indexed.get(&file.path), skipped.get(&file.path));
                seen.insert(file.path.clone());
                if known == Some(&file.state) {
                    match differs(&file.path, &fingerprints) {
                        true => plan.changed.push(file),
                        false => plan.unchanged += 1,
                    }
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
    plan.passed_over.hidden = hidden.load(Ordering::Relaxed);
    let out_of_sight = |path: &Path| {
        plan.warnings.iter().any(|warning| warning.path.as_ref().is_none_or(|place| path.starts_with(place)))
    };
    let kept = emptied_folders(catalog, root, &seen)?;
    let is_kept = |path: &Path| kept.iter().any(|folder| path.starts_with(&folder.path));
    let known = indexed.keys().chain(skipped.keys().filter(|path| !indexed.contains_key(*path)));
    let mut deleted: Vec<PathBuf> = known
        .filter(|path| !seen.contains(*path) && !out_of_sight(path) && !is_kept(path))
        .cloned()
        .collect();
    deleted.sort();
    plan.deleted = deleted;
    plan.kept = kept;
    Ok(plan)
}

/// Of the folders that were indexed, `root` and those below it, the ones in which no picture is seen any more.
fn emptied_folders(catalog: &Catalog, root: &Path, seen: &HashSet<PathBuf>) -> Result<Vec<KeptFolder>> {
    let mut emptied = Vec::new();
    for folder in catalog.folders()? {
        let is_empty = folder.path.starts_with(root)
            && folder.images > 0
            && !seen.iter().any(|path| path.starts_with(&folder.path));
        if is_empty {
            emptied.push(KeptFolder { path: folder.path, images: folder.images });
        }
    }
    Ok(emptied)
}

/// Whether a file of unchanged size and time has other content than it had; one that cannot be read does not differ.
fn differs(path: &Path, fingerprints: &HashMap<PathBuf, Option<[u8; 32]>>) -> bool {
    let Some(known) = fingerprints.get(path) else { return false };
    content::fingerprint(path).is_ok_and(|found| found != *known)
}

/// The file of an entry, if it may be a picture; what is passed over is counted.
fn scanned_file(entry: DirEntry, passed_over: &mut PassedOver) -> Result<Option<ScannedFile>, ScanWarning> {
    let is_video = entry.file_type().is_some_and(|kind| kind.is_dir()) && is_frames_directory(entry.path());
    let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
    let is_image = !is_video && is_file && is_worth_reading(entry.path(), passed_over);
    if !is_video && !is_image {
        let kind = entry.file_type();
        if kind.is_some_and(|kind| kind.is_symlink()) {
            passed_over.links += 1;
        } else if !is_file && kind.is_some_and(|kind| !kind.is_dir()) {
            passed_over.special += 1;
        }
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

/// Whether a regular file is opened.
fn is_worth_reading(path: &Path, passed_over: &mut PassedOver) -> bool {
    if let Some(remedy) = PictureFormat::of(path).and_then(PictureFormat::obstacle) {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        passed_over.unread.entry(ending).or_insert((0, remedy)).0 += 1;
        return false;
    }
    let readable = may_be_image(path);
    if !readable {
        passed_over.others += 1;
    }
    readable
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
