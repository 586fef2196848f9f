//! What a search and a scan ask.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, Row};

use super::path_bytes::{from_bytes, to_bytes};
use super::{Catalog, CatalogImage, FileState, SkippedFile, under};
use crate::embed::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::index::ExactIndex;
use crate::library::filter::PictureFilter;
use crate::pictures::metadata::Place;

/// A picture and what its content is known by; of one that an older relens indexed, nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownContent {
    /// Its number in the catalogue.
    pub id: u64,
    /// Where it lies, or lay.
    pub path: PathBuf,
    /// The hash of its content.
    pub fingerprint: Option<[u8; 32]>,
}

pub(super) const IMAGE_COLUMNS: &str =
    "id, path, size, modified, width, height, taken, camera, latitude, longitude";

/// Fewer pictures than one in so many are read one by one, more in a scan of all.
const SHARE_THAT_IS_SOUGHT: usize = 8;

/// Vectors on their way into an index.
struct VectorRows {
    dim: usize,
    ids: Vec<u64>,
    data: Vec<f32>,
}

impl Catalog {
    /// The number of pictures that can be found.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Database`], as for every method here.
    pub fn image_count(&self) -> Result<usize> {
        self.count("SELECT count(*) FROM images")
    }

    /// The number of files that were left out.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Database`].
    pub fn skipped_count(&self) -> Result<usize> {
        self.count("SELECT count(*) FROM skipped")
    }

    /// One picture.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if there is no such picture, for ids come from the index; [`Error::Database`].
    pub fn image(&self, id: u64) -> Result<CatalogImage> {
        self.find_image(id)?.ok_or_else(|| self.corrupt(format!("a picture with the id {id}"), "none"))
    }

    /// The picture with this id, if it is in the catalogue.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Database`].
    pub fn find_image(&self, id: u64) -> Result<Option<CatalogImage>> {
        let query = format!("SELECT {IMAGE_COLUMNS} FROM images WHERE id = ?1");
        self.connection
            .prepare_cached(&query)
            .and_then(|mut statement| statement.query_row([id.cast_signed()], read_image).optional())
            .map_err(|error| self.failed(error))
    }

    /// A number that is another one after every change by another connection or process. Numbers of two openings cannot
    /// be compared.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Database`].
    pub fn data_version(&self) -> Result<i64> {
        self.connection
            .query_row("PRAGMA data_version", [], |row| row.get(0))
            .map_err(|error| self.failed(error))
    }

    /// The picture at `path`, if it is in the catalogue.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Database`].
    pub fn image_at(&self, path: &Path) -> Result<Option<CatalogImage>> {
        let query = format!("SELECT {IMAGE_COLUMNS} FROM images WHERE path = ?1");
        self.connection
            .query_row(&query, [to_bytes(path)], read_image)
            .optional()
            .map_err(|error| self.failed(error))
    }

    /// Every picture under `directory`, with the state of its file when it was indexed.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Database`].
    pub fn images_under(&self, directory: &Path) -> Result<HashMap<PathBuf, FileState>> {
        let query = "SELECT path, size, modified FROM images WHERE path >= ?1 AND path < ?2";
        self.rows_under(query, directory, |row| {
            Ok((read_path(row, 0)?, file_state(row.get(1)?, row.get(2)?)))
        })
    }

    /// Every file under `directory` that was left out, with its state then; a file that could not be read has none, for
    /// it is to be tried again.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Database`].
    pub fn skipped_under(&self, directory: &Path) -> Result<HashMap<PathBuf, Option<FileState>>> {
        let query = "SELECT path, size, modified FROM skipped WHERE path >= ?1 AND path < ?2";
        self.rows_under(query, directory, |row| Ok((read_path(row, 0)?, optional_state(row, 1)?)))
    }

    /// The files that were left out, in the order of their paths, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Database`].
    pub fn skipped(&self, limit: usize) -> Result<Vec<SkippedFile>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = |row: &Row<'_>| {
            Ok(SkippedFile { path: read_path(row, 0)?, state: optional_state(row, 1)?, reason: row.get(3)? })
        };
        self.connection
            .prepare("SELECT path, size, modified, reason FROM skipped ORDER BY path LIMIT ?1")
            .and_then(|mut statement| statement.query_map([limit], read)?.collect())
            .map_err(|error| self.failed(error))
    }

    /// Pictures whose files have this size, with what makes their content known.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Database`].
    pub fn images_of_size(&self, size: u64) -> Result<Vec<KnownContent>> {
        let read = |row: &Row<'_>| {
            Ok(KnownContent {
                id: row.get::<_, i64>(0)?.cast_unsigned(),
                path: read_path(row, 1)?,
                fingerprint: read_fingerprint(row, 2)?,
            })
        };
        self.connection
            .prepare_cached("SELECT id, path, fingerprint FROM images WHERE size = ?1 ORDER BY id")
            .and_then(|mut statement| statement.query_map([size.cast_signed()], read)?.collect())
            .map_err(|error| self.failed(error))
    }

    /// The fingerprints of the pictures under `directory`; of a picture that an older relens indexed, none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Database`].
    pub fn fingerprints_under(&self, directory: &Path) -> Result<HashMap<PathBuf, Option<[u8; 32]>>> {
        let query = "SELECT path, fingerprint FROM images WHERE path >= ?1 AND path < ?2";
        self.rows_under(query, directory, |row| Ok((read_path(row, 0)?, read_fingerprint(row, 1)?)))
    }

    /// The captions of a picture.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Database`].
    pub fn captions(&self, image: u64) -> Result<Vec<String>> {
        self.connection
            .prepare_cached("SELECT text FROM captions WHERE image_id = ?1 ORDER BY position")
            .and_then(|mut statement| statement.query_map([image.cast_signed()], |row| row.get(0))?.collect())
            .map_err(|error| self.failed(error))
    }

    /// All vectors, ready for a search.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a vector has another size than the model's or is not normalised; [`Error::Database`].
    pub fn index(&self) -> Result<ExactIndex> {
        self.index_of(&PictureFilter::default())
    }

    /// The vectors of the pictures that `filter` lets through.
    ///
    /// # Errors
    /// As for [`index`](Self::index).
    pub fn index_of(&self, filter: &PictureFilter) -> Result<ExactIndex> {
        // What is read in one transaction belongs together, whatever others write meanwhile.
        let _snapshot = self.connection.unchecked_transaction().map_err(|error| self.failed(error))?;
        let all = self.image_count()?;
        let passing = if filter.is_empty() { None } else { Some(self.passing(filter)?) };
        let mut vectors = self.vector_rows(passing.as_ref().map_or(all, Vec::len));
        match passing {
            Some(ids) if ids.len() < all / SHARE_THAT_IS_SOUGHT => self.seek_vectors(&ids, &mut vectors)?,
            passing => self.scan_vectors(passing.as_deref(), &mut vectors)?,
        }
        let VectorRows { dim, ids, data } = vectors;
        let vectors = Embeddings::from_rows(dim, data)?;
        // Checked once here, so that a search can take dot products for cosines.
        vectors.ensure_normalised("vectors").map_err(|error| match error {
            Error::NotNormalised { row, .. } | Error::NonFinite { row, .. } => {
                let id = ids.get(row).copied().unwrap_or_default();
                self.corrupt(format!("a vector of length 1 for picture {id}"), error.to_string())
            }
            other => other,
        })?;
        ExactIndex::from_parts(&self.model().fingerprint, ids, vectors)
    }

    /// Room for `count` vectors in one piece: of a million pictures they are gigabytes, and growing would copy them. No
    /// more than the file can hold, whatever a damaged one says.
    fn vector_rows(&self, count: usize) -> VectorRows {
        let dim = self.model().dim;
        let most = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len() / 4);
        let room = count.saturating_mul(dim).min(usize::try_from(most).unwrap_or(0));
        VectorRows { dim, ids: Vec::with_capacity(room / dim.max(1)), data: Vec::with_capacity(room) }
    }

    /// Reads the vectors of `ids` one by one.
    fn seek_vectors(&self, ids: &[i64], vectors: &mut VectorRows) -> Result<()> {
        let query = "SELECT image_id, vector FROM vectors WHERE image_id = ?1";
        let mut statement = self.connection.prepare(query).map_err(|error| self.failed(error))?;
        for id in ids {
            let mut rows = statement.query([id]).map_err(|error| self.failed(error))?;
            if let Some(row) = rows.next().map_err(|error| self.failed(error))? {
                self.push_vector(row, vectors)?;
            }
        }
        Ok(())
    }

    /// Reads all vectors in the order of their ids, and keeps those of `passing`, which are in that order, too.
    fn scan_vectors(&self, passing: Option<&[i64]>, vectors: &mut VectorRows) -> Result<()> {
        let query = "SELECT image_id, vector FROM vectors ORDER BY image_id";
        let mut statement = self.connection.prepare(query).map_err(|error| self.failed(error))?;
        let mut rows = statement.query([]).map_err(|error| self.failed(error))?;
        let mut passing = passing.map(|ids| ids.iter().peekable());
        while let Some(row) = rows.next().map_err(|error| self.failed(error))? {
            if let Some(passing) = &mut passing {
                let id: i64 = row.get(0).map_err(|error| self.failed(error))?;
                while passing.next_if(|&&passing| passing < id).is_some() {}
                if passing.next_if(|&&passing| passing == id).is_none() {
                    continue;
                }
            }
            self.push_vector(row, vectors)?;
        }
        Ok(())
    }

    /// Adds a row of id and vector.
    fn push_vector(&self, row: &Row<'_>, vectors: &mut VectorRows) -> Result<()> {
        let id: i64 = row.get(0).map_err(|error| self.failed(error))?;
        let value = row.get_ref(1).map_err(|error| self.failed(error))?;
        let bytes = value.as_blob().unwrap_or(&[]);
        if bytes.len() != vectors.dim * 4 {
            let expected = format!("a vector of {} bytes for picture {id}", vectors.dim * 4);
            return Err(self.corrupt(expected, format!("{} bytes", bytes.len())));
        }
        vectors.ids.push(id.cast_unsigned());
        let (components, _) = bytes.as_chunks::<4>();
        vectors.data.extend(components.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        Ok(())
    }

    fn count(&self, query: &str) -> Result<usize> {
        let count: i64 =
            self.connection.query_row(query, [], |row| row.get(0)).map_err(|error| self.failed(error))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    fn rows_under<T>(
        &self,
        query: &str,
        directory: &Path,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<(PathBuf, T)>,
    ) -> Result<HashMap<PathBuf, T>> {
        self.connection
            .prepare(query)
            .and_then(|mut statement| statement.query_map(under(directory), read)?.collect())
            .map_err(|error| self.failed(error))
    }
}

fn read_path(row: &Row<'_>, column: usize) -> rusqlite::Result<PathBuf> {
    Ok(from_bytes(row.get_ref(column)?.as_blob().unwrap_or(&[])))
}

fn read_fingerprint(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<[u8; 32]>> {
    Ok(row.get::<_, Option<Vec<u8>>>(column)?.and_then(|bytes| bytes.try_into().ok()))
}

fn file_state(size: i64, modified: i64) -> FileState {
    FileState { size: size.cast_unsigned(), modified }
}

/// The state in `column` (size) and the next (time of change).
fn optional_state(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<FileState>> {
    let size: Option<i64> = row.get(column)?;
    let modified: Option<i64> = row.get(column + 1)?;
    Ok(size.zip(modified).map(|(size, modified)| file_state(size, modified)))
}

/// The place in `column` (latitude) and the next (longitude).
fn place(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Place>> {
    let (latitude, longitude) = (row.get::<_, Option<f64>>(column)?, row.get::<_, Option<f64>>(column + 1)?);
    Ok(latitude.zip(longitude).and_then(|(latitude, longitude)| Place::new(latitude, longitude)))
}

pub(super) fn read_image(row: &Row<'_>) -> rusqlite::Result<CatalogImage> {
    Ok(CatalogImage {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        path: read_path(row, 1)?,
        state: file_state(row.get(2)?, row.get(3)?),
        width: row.get(4)?,
        height: row.get(5)?,
        taken: row.get(6)?,
        camera: row.get(7)?,
        place: place(row, 8)?,
    })
}
