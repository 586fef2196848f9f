//! Whether a catalogue is whole, and what can be saved of one that is not.

use crate::counted::counted;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row};

use super::path_bytes::from_bytes;
use super::reading::read_image;
use super::{Catalog, CatalogImage, IndexedImage, open};
use crate::embed::embeddings::Embeddings;
use crate::error::Result;
use crate::pictures::metadata::PictureMetadata;

/// How many pictures are saved in one transaction.
const SAVED_PER_BATCH: usize = 256;
/// The most faults that are named.
const NAMED_FAULTS: usize = 20;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogHealth {
    /// Pictures.
    pub images: usize,
    /// Vectors.
    pub vectors: usize,
    /// Pictures whose files are not there.
    pub missing: usize,
    /// What is damaged.
    pub faults: Vec<String>,
}

/// What a repair saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Pictures that are in the new catalogue.
    pub saved: usize,
    /// Pictures that could not be read.
    pub lost: usize,
    /// Where the damaged catalogue lies now.
    pub damaged: PathBuf,
}

impl Catalog {
    /// Reads everything, and looks for every picture's file.
    ///
    /// # Errors
    /// [`Error::Database`](crate::error::Error::Database) if it cannot even be asked.
    pub fn check(&self) -> Result<CatalogHealth> {
        let mut health = CatalogHealth { images: self.image_count()?, ..CatalogHealth::default() };
        let pages = self.connection.prepare(&format!("PRAGMA integrity_check({NAMED_FAULTS})")).and_then(
            |mut statement| {
                statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()
            },
        );
        match pages {
            Ok(found) => health.faults.extend(found.into_iter().filter(|fault| fault != "ok")),
            Err(error) => health.faults.push(error.to_string()),
        }
        match self.index() {
            Ok(index) => health.vectors = crate::index::Index::len(&index),
            Err(error) => health.faults.push(error.to_string()),
        }
        if health.faults.is_empty() && health.vectors != health.images {
            health.faults.push(format!(
                "{}, but {}",
                counted(health.images, "picture"),
                counted(health.vectors, "vector")
            ));
        }
        let paths = self.connection.prepare("SELECT path FROM images").and_then(|mut statement| {
            let paths = statement.query_map([], |row| Ok(path_of(row)))?;
            paths.collect::<rusqlite::Result<Vec<PathBuf>>>()
        });
        match paths {
            Ok(paths) => health.missing = paths.iter().filter(|path| !path.exists()).count(),
            Err(error) => health.faults.push(error.to_string()),
        }
        Ok(health)
    }

    /// Saves what can be read of the catalogue at `path` into a new one in its place, and keeps the damaged one beside
    /// it.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::error::Error::Corrupt) if not even the model that made it can be read.
    pub fn repair(path: &Path) -> Result<Repaired> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let old =
            Connection::open_with_flags(path, flags).map_err(|error| super::catalog_error(path, error))?;
        let model = open::read_model(path, &old)?;
        let new_path = beside(path, ".repaired");
        for ending in ["", "-wal", "-shm"] {
            // What an earlier repair left that was cut short.
            let _ = fs_err::remove_file(beside(&new_path, ending));
        }
        let mut new = Self::open_or_create(&new_path, &model)?;
        // Where the index is damaged, each number up to the highest that can be told is asked for by itself.
        let highest: i64 =
            ["SELECT seq FROM sqlite_sequence WHERE name = 'images'", "SELECT max(id) FROM images"]
                .iter()
                .filter_map(|sql| old.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).ok().flatten())
                .max()
                .unwrap_or(0);
        let (mut saved, mut lost) = (0, 0);
        let (mut images, mut vectors) = (Vec::new(), Embeddings::new(model.dim));
        for id in 1..=highest {
            match read_whole(&old, id, model.dim) {
                Ok(Some((image, vector))) => {
                    images.push(image);
                    vectors.append(&vector)?;
                }
                Ok(None) => {}
                Err(_) => lost += 1,
            }
            if images.len() == SAVED_PER_BATCH || id == highest {
                new.add_batch(&images, &vectors, &[])?;
                saved += images.len();
                images.clear();
                vectors = Embeddings::new(model.dim);
            }
        }
        for folder in read_folders(&old) {
            new.add_folder(&folder)?;
        }
        drop((old, new));
        open::put_aside(path)?;
        for ending in ["", "-wal", "-shm"] {
            let file = beside(&new_path, ending);
            if file.exists() {
                fs_err::rename(file, beside(path, ending))?;
            }
        }
        Ok(Repaired { saved, lost, damaged: beside(path, ".damaged") })
    }
}

/// A picture with its vector; none if there is no such number, an error if it cannot be read.
fn read_whole(
    connection: &Connection,
    id: i64,
    dim: usize,
) -> rusqlite::Result<Option<(IndexedImage, Embeddings)>> {
    let sql = "SELECT id, path, size, modified, width, height, NULL, NULL, NULL, NULL, vector
               FROM images JOIN vectors ON image_id = id WHERE id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let image = read_image(row)?;
    let bytes: Vec<u8> = row.get(10)?;
    let (components, rest) = bytes.as_chunks::<4>();
    let vector: Vec<f32> = components.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let unusable = || rusqlite::Error::InvalidColumnName("vector".to_owned());
    if vector.len() != dim || !rest.is_empty() {
        return Err(unusable());
    }
    let vector = Embeddings::from_rows(dim, vector).map_err(|_| unusable())?;
    vector.ensure_normalised("vector").map_err(|_| unusable())?;
    // What its file tells is read again by the next run of `index`, which finds no fingerprint here.
    let (fingerprint, metadata) = (None, PictureMetadata::default());
    let CatalogImage { path, state, width, height, .. } = image;
    Ok(Some((IndexedImage { path, state, width, height, fingerprint, metadata }, vector)))
}

fn read_folders(connection: &Connection) -> Vec<PathBuf> {
    let read = || {
        let mut statement = connection.prepare("SELECT path FROM folders")?;
        statement.query_map([], |row| Ok(path_of(row)))?.collect::<rusqlite::Result<Vec<_>>>()
    };
    read().unwrap_or_default()
}

fn path_of(row: &Row<'_>) -> PathBuf {
    let bytes = row.get_ref(0).ok().and_then(|value| value.as_blob().ok());
    from_bytes(bytes.unwrap_or(&[]))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
