//! Pictures inside of Parquet files, as img2dataset writes them with `--output_format parquet`.
//!
//! A row is a sample: `key`, `caption`, and the encoded picture in a column called after its encoding (`jpg`, `png`,
//! `webp`). `shards/00000.parquet/000000012.jpg` is the picture of the row whose key is `000000012`. Keys and captions
//! are read once, without the pictures; pictures are then read a row group at a time.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use crate::error::{Error, Result};

/// Columns that hold pictures.
const PICTURE_COLUMNS: [&str; 3] = ["jpg", "png", "webp"];
/// Directories that are kept in memory; shards are read one after the other.
const KEPT_DIRECTORIES: usize = 64;
/// Row groups whose pictures are kept in memory: a batch may end in one and begin in the next, on several threads.
const KEPT_GROUPS: usize = 4;

/// The samples of a file, without those whose `status` tells that their download failed.
#[derive(Debug, Default)]
pub(crate) struct ParquetDirectory {
    /// The pictures' names and the captions, in the file's order.
    pub(crate) samples: Vec<(String, Option<String>)>,
    picture_column: String,
    places: HashMap<String, RowPosition>,
}

/// Where a picture lies.
#[derive(Debug, Clone, Copy)]
struct RowPosition {
    group: usize,
    row: usize,
}

/// The pictures of a row group.
struct Group {
    file: PathBuf,
    group: usize,
    pictures: Arc<Vec<Option<ByteArray>>>,
}

static DIRECTORIES: LazyLock<Mutex<HashMap<PathBuf, Arc<ParquetDirectory>>>> = LazyLock::new(Mutex::default);
static GROUPS: LazyLock<Mutex<VecDeque<Group>>> = LazyLock::new(Mutex::default);

/// Whether the file's name ends as a Parquet file's does.
pub(crate) fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// Whether the file holds a picture of this name.
pub(crate) fn contains(file: &Path, entry: &str) -> bool {
    directory(file).is_ok_and(|directory| directory.places.contains_key(entry))
}

/// The encoded picture of this name.
///
/// # Errors
/// The file cannot be read, or has no such picture.
pub(crate) fn read(file: &Path, entry: &str) -> Result<Vec<u8>> {
    let directory = directory(file)?;
    let missing = || refuse(file, &format!("a picture `{entry}`"), "none");
    let &RowPosition { group, row } = directory.places.get(entry).ok_or_else(missing)?;
    let pictures = pictures(file, group, &directory.picture_column)?;
    let picture = pictures.get(row).and_then(Option::as_ref).ok_or_else(missing)?;
    Ok(picture.data().to_vec())
}

/// The samples of a file, from memory if it was read before.
///
/// # Errors
/// The file cannot be read, is damaged, or has other columns than img2dataset writes.
pub(crate) fn directory(file: &Path) -> Result<Arc<ParquetDirectory>> {
    let known = || DIRECTORIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(directory) = known().get(file) {
        return Ok(directory.clone());
    }
    let directory = Arc::new(guarded(file, || read_directory(file))?);
    let mut kept = known();
    if kept.len() >= KEPT_DIRECTORIES {
        kept.clear();
    }
    kept.insert(file.to_owned(), directory.clone());
    Ok(directory)
}

fn read_directory(file: &Path) -> Result<ParquetDirectory> {
    let reader = open(file)?;
    let schema = reader.metadata().file_metadata().schema().clone();
    let column = |name: &str| schema.get_fields().iter().find(|field| field.name() == name);
    let picture_column = PICTURE_COLUMNS.into_iter().find(|name| column(name).is_some());
    let (Some(picture_column), Some(_), Some(_)) = (picture_column, column("key"), column("caption")) else {
        let names: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
        let expected = "the columns key, caption, and jpg, png or webp, as img2dataset writes them";
        return Err(refuse(file, expected, &names.join(", ")));
    };
    let mut found =
        ParquetDirectory { picture_column: picture_column.to_owned(), ..ParquetDirectory::default() };
    for group in 0..reader.num_row_groups() {
        for_each_row(file, &reader, group, &["key", "caption", "status"], |row, sample| {
            let failed = text(sample, "status").is_some_and(|status| status != "success");
            let (Some(key), false) = (text(sample, "key"), failed) else { return };
            let name = format!("{key}.{picture_column}");
            if found.places.insert(name.clone(), RowPosition { group, row }).is_none() {
                found.samples.push((name, text(sample, "caption")));
            }
        })?;
    }
    Ok(found)
}

/// The pictures of a row group, from memory if they are still there.
fn pictures(file: &Path, group: usize, column: &str) -> Result<Arc<Vec<Option<ByteArray>>>> {
    // The lock is held while a group is read, so that threads that need the same one do not all read it.
    let mut kept = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.iter().find(|known| known.group == group && known.file == file) {
        return Ok(known.pictures.clone());
    }
    let pictures = Arc::new(guarded(file, || {
        let reader = open(file)?;
        let mut pictures = Vec::new();
        for_each_row(file, &reader, group, &[column], |_, row| {
            pictures.push(row.get_column_iter().find_map(|(_, field)| match field {
                Field::Bytes(bytes) => Some(bytes.clone()),
                _ => None,
            }));
        })?;
        Ok(pictures)
    })?);
    if kept.len() >= KEPT_GROUPS {
        kept.pop_front();
    }
    kept.push_back(Group { file: file.to_owned(), group, pictures: pictures.clone() });
    Ok(pictures)
}

fn open(file: &Path) -> Result<SerializedFileReader<std::fs::File>> {
    let content = fs_err::File::open(file)?.into_file();
    SerializedFileReader::new(content).map_err(|error| damaged(file, &error))
}

/// Calls `visit(row number, row)` for the rows of a row group, of which some columns are read.
fn for_each_row(
    file: &Path,
    reader: &SerializedFileReader<std::fs::File>,
    group: usize,
    columns: &[&str],
    mut visit: impl FnMut(usize, &Row),
) -> Result<()> {
    let schema = reader.metadata().file_metadata().schema();
    let fields = schema.get_fields().iter().filter(|field| columns.contains(&field.name()));
    let read = || -> parquet::errors::Result<()> {
        let projection =
            Type::group_type_builder(schema.name()).with_fields(fields.cloned().collect()).build()?;
        let group = reader.get_row_group(group)?;
        for (number, row) in RowIter::from_row_group(Some(projection), group.as_ref())?.enumerate() {
            visit(number, &row?);
        }
        Ok(())
    };
    read().map_err(|error| damaged(file, &error))
}

/// A field that is a text and not empty.
fn text(row: &Row, column: &str) -> Option<String> {
    row.get_column_iter().find_map(|(name, field)| match field {
        Field::Str(text) if name == column && !text.trim().is_empty() => Some(text.clone()),
        _ => None,
    })
}

/// Runs `work`; a damaged file on which the reader panics is an error like any other.
fn guarded<T>(file: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(refuse(file, "a Parquet file", "one that its reader fails on")))
}

fn damaged(file: &Path, error: &ParquetError) -> Error {
    refuse(file, "a Parquet file", &error.to_string())
}

fn refuse(file: &Path, expected: &str, found: &str) -> Error {
    Error::Corrupt { path: file.to_owned(), expected: expected.to_owned(), found: found.to_owned() }
}
