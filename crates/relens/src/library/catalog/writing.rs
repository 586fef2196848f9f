//! Changes, each a transaction.

use std::path::{Path, PathBuf};

use rusqlite::{Transaction, TransactionBehavior};

use super::path_bytes::to_bytes;
use super::{Catalog, FileState};
use crate::embed::embeddings::Embeddings;
use crate::error::{Error, Result};

/// A picture to be put into the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedImage {
    /// Where it lies.
    pub path: PathBuf,
    /// Its file when it was read.
    pub state: FileState,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Captions that came with it.
    pub captions: Vec<String>,
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

    fn change<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
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
    transaction.prepare_cached("DELETE FROM captions WHERE image_id = ?1")?.execute([id])?;
    let mut insert =
        transaction.prepare_cached("INSERT INTO captions (image_id, position, text) VALUES (?1, ?2, ?3)")?;
    for (caption, position) in image.captions.iter().zip(0i64..) {
        insert.execute((id, position, caption))?;
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
