//! What filters ask of every picture, one column a question: ids, dates, folders, cameras, places, kinds.
//!
//! The columns are derived from the catalogue and lie in a file beside it, which is mapped: a filter looks at a few bytes of
//! each picture in place of a row of the database. The file tells which generation of the catalogue it was made of, and is
//! made anew for any other; where it cannot be written, the next search derives them again. Folders and cameras are numbers
//! of names, so that a condition looks at each name once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use bytemuck::Pod;
use chrono::{NaiveDate, NaiveTime};
use memmap2::Mmap;
use relens_models::atomic_file::write_atomically;
use relens_models::regular_file;
use rusqlite::OptionalExtension;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::reading::{IMAGE_COLUMNS, read_image};
use super::{Catalog, CatalogImage};
use crate::error::Result;
use crate::library::filter::{MediaKind, PictureFilter, is_below};
use crate::pictures::metadata::Place;
use crate::pictures::video;
use crate::private_file;

/// Changes with what the columns mean.
const FORMAT: &str = "1";
/// Seconds since 1970.
const DATES: &str = "dates";
/// Numbers of `FOLDER_NAMES`.
const FOLDERS: &str = "folders";
/// Numbers of `CAMERA_NAMES`, or `NO_NAME`.
const CAMERAS: &str = "cameras";
/// Directions from the earth's centre, `[n, 3]`; NaN where no place is known.
const DIRECTIONS: &str = "directions";
/// 1 for a video.
const VIDEOS: &str = "videos";
const IDS: &str = "ids";
/// Names in lower case, a NUL behind each.
const FOLDER_NAMES: &str = "folder_names";
const CAMERA_NAMES: &str = "camera_names";
const NO_NAME: u32 = u32::MAX;

impl Catalog {
    /// The ids of the pictures that `filter` lets through, ascending.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::error::Error::Corrupt) or [`Error::Database`](crate::error::Error::Database).
    pub(super) fn passing(&self, filter: &PictureFilter) -> Result<Vec<i64>> {
        let path = self.path.with_extension("columns.safetensors");
        let generation = self.generation()?;
        let kept = generation.as_deref().and_then(|generation| PictureColumns::open(&path, generation));
        if let Some(ids) = kept.and_then(|columns| columns.passing(filter)) {
            return Ok(ids);
        }
        let columns = self.derive_columns(generation.as_deref().unwrap_or_default())?;
        if generation.is_some() && write_atomically(&path, columns.bytes()).is_ok() {
            private_file::restrict(&path);
        }
        let ids = columns.passing(filter);
        ids.ok_or_else(|| self.corrupt("pictures with a path each", "columns of different lengths"))
    }

    /// What is another text after every change of a picture; none in libraries of earlier versions that were not changed
    /// since.
    fn generation(&self) -> Result<Option<String>> {
        self.connection
            .query_row("SELECT value FROM meta WHERE key = 'generation'", [], |row| row.get(0))
            .optional()
            .map_err(|error| self.failed(error))
    }

    fn derive_columns(&self, generation: &str) -> Result<PictureColumns> {
        let query = format!("SELECT {IMAGE_COLUMNS} FROM images ORDER BY id");
        let read = || {
            let mut rows = Rows::default();
            let mut statement = self.connection.prepare(&query)?;
            for image in statement.query_map([], read_image)? {
                rows.push(&image?);
            }
            Ok(rows)
        };
        let rows: Rows = read().map_err(|error| self.failed(error))?;
        let bytes = rows.serialize(generation);
        Ok(PictureColumns {
            bytes: Bytes::Owned(bytes.map_err(|reason| self.corrupt("columns", reason.to_string()))?),
        })
    }
}

/// Columns on their way into a file.
#[derive(Default)]
struct Rows {
    ids: Vec<i64>,
    dates: Vec<i64>,
    folders: Vec<u32>,
    cameras: Vec<u32>,
    directions: Vec<[f32; 3]>,
    videos: Vec<u8>,
    folder_names: Names,
    camera_names: Names,
}

/// Different names, numbered in the order in which they came.
#[derive(Default)]
struct Names {
    numbers: HashMap<String, u32>,
    text: Vec<u8>,
}

impl Names {
    fn number(&mut self, name: String) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap_or(NO_NAME);
        *self.numbers.entry(name).or_insert_with_key(|name| {
            self.text.extend(name.bytes().filter(|&byte| byte != 0).chain([0]));
            next
        })
    }
}

impl Rows {
    fn push(&mut self, image: &CatalogImage) {
        let folder = image.path.parent().unwrap_or(Path::new("")).to_string_lossy().to_lowercase();
        let camera = image.camera.as_ref().map(|camera| self.camera_names.number(camera.to_lowercase()));
        let ending = image.path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let is_video = video::container_endings().any(|video| ending.eq_ignore_ascii_case(video));
        self.ids.push(image.id.cast_signed());
        self.dates.push(image.date());
        self.folders.push(self.folder_names.number(format!("{}/", folder.trim_end_matches('/'))));
        self.cameras.push(camera.unwrap_or(NO_NAME));
        self.directions.push(image.place.map_or([f32::NAN; 3], Place::direction));
        self.videos.push(u8::from(is_video));
    }

    fn serialize(&self, generation: &str) -> std::result::Result<Vec<u8>, safetensors::SafeTensorError> {
        let columns: [(&str, Dtype, usize, &[u8]); 8] = [
            (IDS, Dtype::I64, 1, bytemuck::cast_slice(&self.ids)),
            (DATES, Dtype::I64, 1, bytemuck::cast_slice(&self.dates)),
            (FOLDERS, Dtype::U32, 1, bytemuck::cast_slice(&self.folders)),
            (CAMERAS, Dtype::U32, 1, bytemuck::cast_slice(&self.cameras)),
            (DIRECTIONS, Dtype::F32, 3, bytemuck::cast_slice(&self.directions)),
            (VIDEOS, Dtype::U8, 1, &self.videos),
            (FOLDER_NAMES, Dtype::U8, 1, &self.folder_names.text),
            (CAMERA_NAMES, Dtype::U8, 1, &self.camera_names.text),
        ];
        let mut metadata = HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("generation".to_owned(), generation.to_owned()),
        ]);
        let mut views = Vec::with_capacity(columns.len());
        for (name, dtype, width, bytes) in columns {
            metadata.insert(checksum_of(name), crc32fast::hash(bytes).to_string());
            let rows = bytes.len() * 8 / dtype.bitsize() / width;
            let shape = if width == 1 { vec![rows] } else { vec![rows, width] };
            views.push((name, TensorView::new(dtype, shape, bytes)?));
        }
        safetensors::serialize(views, Some(metadata))
    }
}

fn checksum_of(column: &str) -> String {
    format!("crc32 of {column}")
}

/// Columns as they lie in their file.
struct PictureColumns {
    bytes: Bytes,
}

enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl PictureColumns {
    /// Maps a file, if it is there and was made of this generation of the catalogue.
    fn open(path: &Path, generation: &str) -> Option<Self> {
        let file = regular_file::open(path).ok()?;
        // SAFETY: relens replaces such files by renaming and never writes into one, so the mapping stays as it is.
        let columns = Self { bytes: Bytes::Mapped(unsafe { Mmap::map(file.file()) }.ok()?) };
        let is = |key: &str, value: &str| columns.metadata(key).is_some_and(|found| found == value);
        (is("format", FORMAT) && is("generation", generation)).then_some(columns)
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(mapped) => mapped,
            Bytes::Owned(owned) => owned,
        }
    }

    fn metadata(&self, key: &str) -> Option<String> {
        let (_, header) = SafeTensors::read_metadata(self.bytes()).ok()?;
        header.metadata().as_ref()?.get(key).cloned()
    }

    /// A column whose checksum fits; a damaged one is none.
    fn column<T: Pod>(&self, name: &str) -> Option<Cow<'_, [T]>> {
        let tensors = SafeTensors::deserialize(self.bytes()).ok()?;
        let data = tensors.tensor(name).ok()?.data();
        let checksum: u32 = self.metadata(&checksum_of(name))?.parse().ok()?;
        if crc32fast::hash(data) != checksum || !data.len().is_multiple_of(size_of::<T>()) {
            return None;
        }
        // A file is mapped at a page, but memory may begin anywhere.
        Some(match bytemuck::try_cast_slice(data) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(data)),
        })
    }

    /// The ids of the pictures that `filter` lets through, ascending; none if a column is damaged.
    fn passing(&self, filter: &PictureFilter) -> Option<Vec<i64>> {
        let ids = self.column::<i64>(IDS)?;
        let mut passing = Passing { columns: self, passes: vec![true; ids.len()] };
        if filter.after.is_some() || filter.before.is_some() {
            let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp();
            let days = filter.after.map_or(i64::MIN, midnight)..filter.before.map_or(i64::MAX, midnight);
            passing.keep(DATES, |date| days.contains(date))?;
        }
        if !filter.folders.is_empty() {
            passing.keep_named(FOLDERS, FOLDER_NAMES, |folder| {
                filter.folders.iter().any(|name| is_below(folder, name))
            })?;
        }
        if !filter.excluded_folders.is_empty() {
            passing.keep_named(FOLDERS, FOLDER_NAMES, |folder| {
                !filter.excluded_folders.iter().any(|name| is_below(folder, name))
            })?;
        }
        if let Some(camera) = &filter.camera {
            let camera = camera.to_lowercase();
            passing.keep_named(CAMERAS, CAMERA_NAMES, |name| name.contains(&camera))?;
        }
        if let Some(near) = &filter.near {
            passing.keep(DIRECTIONS, near.holds())?;
        }
        if let Some(kind) = filter.kind {
            let wanted = u8::from(kind == MediaKind::Video);
            passing.keep(VIDEOS, |&video: &u8| video == wanted)?;
        }
        let ids = ids.iter().zip(&passing.passes).filter(|(_, passes)| **passes);
        Some(ids.map(|(id, _)| *id).collect())
    }
}

/// Which pictures are left.
struct Passing<'a> {
    columns: &'a PictureColumns,
    passes: Vec<bool>,
}

impl Passing<'_> {
    /// Keeps the pictures whose value in a column meets a condition.
    fn keep<T: Pod>(&mut self, column: &str, holds: impl Fn(&T) -> bool) -> Option<()> {
        let values = self.columns.column::<T>(column)?;
        if values.len() != self.passes.len() {
            return None;
        }
        for (passes, value) in self.passes.iter_mut().zip(values.iter()) {
            *passes &= holds(value);
        }
        Some(())
    }

    /// The same for a column of numbers of names.
    fn keep_named(&mut self, column: &str, names: &str, holds: impl Fn(&str) -> bool) -> Option<()> {
        let names = self.columns.column::<u8>(names)?;
        let names = names.split(|&byte| byte == 0).map(|name| holds(&String::from_utf8_lossy(name)));
        let holding: Vec<bool> = names.collect();
        self.keep(column, |&number: &u32| holding.get(number as usize).copied().unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rusqlite::Connection;

    use super::*;
    use crate::library::catalog::tests::{filled, model};

    fn passing(catalog: &Catalog, conditions: &str) -> Vec<i64> {
        let mut filter = PictureFilter::default();
        filter.take_from(conditions).unwrap();
        catalog.passing(&filter).unwrap()
    }

    fn columns_of(database: &Path) -> PathBuf {
        database.with_extension("columns.safetensors")
    }

    #[test]
    fn columns_are_kept_and_made_anew_after_a_change_by_anybody() {
        let directory = tempfile::tempdir().unwrap();
        let path = filled(&directory);
        let catalog = Catalog::open(&path).unwrap();
        assert_eq!(passing(&catalog, "in:/p"), [1, 2]);
        let kept = fs_err::read(columns_of(&path)).unwrap();
        assert_eq!(passing(&catalog, "camera:pixel"), [1, 2]);
        assert_eq!(fs_err::read(columns_of(&path)).unwrap(), kept, "nothing changed");
        let other = Connection::open(&path).unwrap();
        other.execute("UPDATE images SET path = CAST('/q/b.jpg' AS BLOB) WHERE id = 2", []).unwrap();
        assert_eq!(passing(&catalog, "in:/p"), [1], "another program changed the path");
        Catalog::open_or_create(&path, &model("a")).unwrap().remove(&["/p/a.jpg"]).unwrap();
        assert_eq!(passing(&catalog, "camera:pixel"), [2]);
        assert_ne!(fs_err::read(columns_of(&path)).unwrap(), kept);
    }

    #[test]
    fn damaged_columns_are_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = filled(&directory);
        let catalog = Catalog::open(&path).unwrap();
        assert_eq!(passing(&catalog, "after:1970 before:1971"), [1, 2]);
        let whole = fs_err::read(columns_of(&path)).unwrap();
        for place in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x55;
            fs_err::write(columns_of(&path), damaged).unwrap();
            for (conditions, expected) in [
                ("after:1970 before:1971", &[1, 2][..]),
                ("in:p", &[1, 2]),
                ("type:video", &[]),
                ("near:48.86,2.3", &[1, 2]),
            ] {
                assert_eq!(passing(&catalog, conditions), expected, "byte {place}, {conditions}");
            }
        }
        fs_err::write(columns_of(&path), &whole[..whole.len() / 2]).unwrap();
        assert_eq!(passing(&catalog, "in:p"), [1, 2]);
    }

    #[test]
    fn where_nothing_can_be_kept_filters_hold_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = filled(&directory);
        fs_err::create_dir(columns_of(&path)).unwrap();
        let catalog = Catalog::open(&path).unwrap();
        assert_eq!(passing(&catalog, "in:/p camera:pixel"), [1, 2]);
        assert!(columns_of(&path).is_dir());
    }

    #[test]
    fn a_place_is_near_to_the_metre() {
        let near = |conditions: &str, latitude, longitude| {
            let mut filter = PictureFilter::default();
            filter.set("near", conditions).unwrap();
            filter.near.unwrap().holds()(&Place::new(latitude, longitude).unwrap().direction())
        };
        // A degree of latitude is 111.195 km on this sphere.
        assert!(near("48,2,111.197", 49.0, 2.0) && !near("48,2,111.193", 49.0, 2.0));
        assert!(near("0,179.9,30", 0.0, -179.9) && !near("0,179.9,20", 0.0, -179.9), "over the date line");
        assert!(near("10,20,20016", -10.0, -160.0), "the other side of the earth");
        assert!(!near("10,20,20000", -10.0, -160.0));
    }
}
