//! Changes, each a transaction.

use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, Transaction, TransactionBehavior};

use super::path_bytes::to_bytes;
use super::{Catalog, FileState};
use crate::embed::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::pictures::metadata::PictureMetadata;

/// A picture to be put into the catalogue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IndexedImage {
    /// Where it lies.
    pub path: PathBuf,
    /// Its file when it was read.
    pub state: FileState,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// What makes its content known under another path.
    pub fingerprint: Option<[u8; 32]>,
    /// What its file tells of it, captions among it.
    pub metadata: PictureMetadata,
}

/// A file whose content the catalogue has under another path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// The picture that is known.
    pub known: u64,
    /// Where the file lies.
    pub path: PathBuf,
    /// Its state.
    pub state: FileState,
    /// Whether the picture has moved here; else it is there twice, and both are in the catalogue.
    pub moved: bool,
}

/// A file that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedFile {
    /// The file.
    pub path: PathBuf,
    /// Its state, if what it holds is the reason: then it is not tried again until it changes. `None` if it could not
    /// be read, which may be different next time.
    pub state: Option<FileState>,
    /// Why.
    pub reason: String,
}

impl Catalog {
    /// Puts pictures with their vectors into the catalogue, replacing those at the same paths, and notes the files that
    /// were left out: all or nothing.
    ///
    /// A file that was left out for what it holds loses the vector that it had; one that could not be read keeps it.
    ///
    /// # Shapes
    /// - `vectors`: `[images.len(), dim]`, L2-normalised
    ///
    /// # Errors
    /// [`Error::Argument`] if the vectors do not fit, [`Error::NonFinite`], [`Error::NotNormalised`],
    /// [`Error::DiskFull`], [`Error::NotWritable`], [`Error::Busy`].
    pub fn add_batch(
        &mut self,
        images: &[IndexedImage],
        vectors: &Embeddings,
        skipped: &[SkippedFile],
    ) -> Result<()> {
        if vectors.rows() != images.len() || (!images.is_empty() && vectors.dim() != self.model.dim) {
            return Err(Error::Argument {
                operation: "Catalog::add_batch",
                expected: format!("{} vectors of {} components", images.len(), self.model.dim),
                found: format!("{} of {}", vectors.rows(), vectors.dim()),
            });
        }
        vectors.ensure_normalised("vectors to be catalogued")?;
        self.change(|transaction| {
            for (image, vector) in images.iter().zip(vectors.iter()) {
                put_image(transaction, image, vector)?;
            }
            for file in skipped {
                put_skipped(transaction, file)?;
            }
            Ok(())
        })
    }

    /// Removes the pictures and notes at `paths`, all or nothing, and says how many pictures there were.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::NotWritable`], [`Error::Busy`].
    pub fn remove<P: AsRef<Path>>(&mut self, paths: &[P]) -> Result<usize> {
        self.change(|transaction| {
            let mut images = transaction.prepare_cached("DELETE FROM images WHERE path = ?1")?;
            let mut skipped = transaction.prepare_cached("DELETE FROM skipped WHERE path = ?1")?;
            let mut removed = 0;
            for path in paths {
                let bytes = to_bytes(path.as_ref());
                removed += images.execute([&bytes])?;
                skipped.execute([&bytes])?;
            }
            Ok(removed)
        })
    }

    /// Takes in files whose content is known already, without embedding them again: all or nothing.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::NotWritable`], [`Error::Busy`].
    pub fn adopt(&mut self, adoptions: &[Adoption]) -> Result<()> {
        self.change(|transaction| adoptions.iter().try_for_each(|adoption| adopt(transaction, adoption)))
    }

    /// Notes what the files of pictures tell that an older relens indexed: all or nothing.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::NotWritable`], [`Error::Busy`].
    pub fn describe(&mut self, images: &[(PathBuf, Option<[u8; 32]>, PictureMetadata)]) -> Result<()> {
        self.change(|transaction| {
            for (path, fingerprint, metadata) in images {
                let id = transaction
                    .prepare_cached("SELECT id FROM images WHERE path = ?1")?
                    .query_row([to_bytes(path)], |row| row.get(0))
                    .optional()?;
                if let Some(id) = id {
                    put_metadata(transaction, id, fingerprint.as_ref(), metadata)?;
                }
            }
            Ok(())
        })
    }

    pub(super) fn change<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let result = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(
            |transaction| {
                let result = work(&transaction)?;
                transaction.commit()?;
                Ok(result)
            },
        );
        result.map_err(|error| self.failed(error))
    }
}

fn put_image(transaction: &Transaction<'_>, image: &IndexedImage, vector: &[f32]) -> rusqlite::Result<()> {
    let path = to_bytes(&image.path);
    // A file is indexed or skipped, never both.
    transaction.prepare_cached("DELETE FROM skipped WHERE path = ?1")?.execute([&path])?;
    let id: i64 = transaction
        .prepare_cached(
            "INSERT INTO images (path, size, modified, width, height) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (path) DO UPDATE SET
                 size = excluded.size, modified = excluded.modified, width = excluded.width, height = excluded.height
             RETURNING id",
        )?
        .query_row(
            (&path, image.state.size.cast_signed(), image.state.modified, image.width, image.height),
            |row| row.get(0),
        )?;
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    transaction
        .prepare_cached("INSERT OR REPLACE INTO vectors (image_id, vector) VALUES (?1, ?2)")?
        .execute((id, bytes))?;
    put_metadata(transaction, id, image.fingerprint.as_ref(), &image.metadata)
}

fn put_metadata(
    transaction: &Transaction<'_>,
    id: i64,
    fingerprint: Option<&[u8; 32]>,
    metadata: &PictureMetadata,
) -> rusqlite::Result<()> {
    let place = metadata.place;
    transaction
        .prepare_cached(
            "UPDATE images SET fingerprint = ?2, taken = ?3, camera = ?4, latitude = ?5, longitude = ?6 WHERE id = ?1",
        )?
        .execute((
            id,
            fingerprint.map(<[u8; 32]>::as_slice),
            metadata.taken,
            &metadata.camera,
            place.map(|place| place.latitude),
            place.map(|place| place.longitude),
        ))?;
    transaction.prepare_cached("DELETE FROM captions WHERE image_id = ?1")?.execute([id])?;
    let mut insert =
        transaction.prepare_cached("INSERT INTO captions (image_id, position, text) VALUES (?1, ?2, ?3)")?;
    for (caption, position) in metadata.captions.iter().zip(0i64..) {
        insert.execute((id, position, caption))?;
    }
    Ok(())
}

fn adopt(transaction: &Transaction<'_>, adoption: &Adoption) -> rusqlite::Result<()> {
    let (path, known) = (to_bytes(&adoption.path), adoption.known.cast_signed());
    let (size, modified) = (adoption.state.size.cast_signed(), adoption.state.modified);
    transaction.prepare_cached("DELETE FROM skipped WHERE path = ?1")?.execute([&path])?;
    transaction.prepare_cached("DELETE FROM images WHERE path = ?1")?.execute([&path])?;
    if adoption.moved {
        transaction
            .prepare_cached("UPDATE images SET path = ?2, size = ?3, modified = ?4 WHERE id = ?1")?
            .execute((known, &path, size, modified))?;
        return Ok(());
    }
    transaction
        .prepare_cached(
            "INSERT INTO images (path, size, modified, width, height, fingerprint, taken, camera, latitude, longitude)
             SELECT ?2, ?3, ?4, width, height, fingerprint, taken, camera, latitude, longitude
             FROM images WHERE id = ?1",
        )?
        .execute((known, &path, size, modified))?;
    let copy = transaction.last_insert_rowid();
    for sql in [
        "INSERT INTO vectors (image_id, vector) SELECT ?2, vector FROM vectors WHERE image_id = ?1",
        "INSERT INTO captions (image_id, position, text)
         SELECT ?2, position, text FROM captions WHERE image_id = ?1",
    ] {
        transaction.prepare_cached(sql)?.execute((known, copy))?;
    }
    Ok(())
}

fn put_skipped(transaction: &Transaction<'_>, file: &SkippedFile) -> rusqlite::Result<()> {
    let path = to_bytes(&file.path);
    let size = file.state.map(|state| state.size.cast_signed());
    let modified = file.state.map(|state| state.modified);
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO skipped (path, size, modified, reason) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((&path, size, modified, &file.reason))?;
    // Without a state it could not be looked at now, and what is known of it stays; with one it is no picture any
    // more.
    if file.state.is_some() {
        transaction.prepare_cached("DELETE FROM images WHERE path = ?1")?.execute([&path])?;
    }
    Ok(())
}
