//! A folder of pictures, made searchable and kept up to date.
//!
//! A [`Library`] is a directory with a file `relens.db` (see [`crate::library::catalog`]), and once something was filtered
//! another with what filters ask, derived from it. [`Library::index_directory`]
//! compares a directory of pictures with it and embeds what is new or changed; a search reads the vectors in one scan.

mod adoption;
pub mod catalog;
mod content;
pub mod filter;
mod index_lock;
mod indexing;
mod scan;
mod selection;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use index_lock::IndexLock;
pub use indexing::{IndexingOptions, IndexingSummary};
pub use scan::{KeptFolder, PassedOver, ScanPlan, ScanWarning, ScannedFile};
pub use selection::{HitSelection, Selected};

use crate::embed::{ModelIdentity, TextEmbedder};
use crate::enhancer::Query;
use crate::error::{Error, Result};
use crate::index::{ExactIndex, Hit};
use crate::library::catalog::{Catalog, CatalogImage, Repaired};
use crate::library::filter::PictureFilter;
use crate::ranking::{Evidence, Pipeline, Ranking};
use crate::storage_error::write_error;

/// The file that holds a library.
pub const DATABASE_FILE: &str = "relens.db";

/// Pictures that can be searched.
#[derive(Debug)]
pub struct Library {
    directory: PathBuf,
    catalog: Catalog,
}

/// A picture that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundImage {
    /// The picture.
    pub image: CatalogImage,
    /// What ranks it.
    pub score: f32,
    /// What is known about it beside its score; `None` where nothing but vectors were compared.
    pub evidence: Option<Evidence>,
}

impl Library {
    /// Opens a library to search in it; the place may be read-only.
    ///
    /// # Errors
    /// [`Error::NoLibrary`], and those of [`Catalog::open`].
    pub fn open(directory: &Path) -> Result<Self> {
        let catalog = Catalog::open(&directory.join(DATABASE_FILE))?;
        Ok(Self { directory: directory.to_owned(), catalog })
    }

    /// Opens a library to change it, or creates it for the pictures of `model`.
    ///
    /// # Errors
    /// [`Error::OtherModel`] if it is another model's, [`Error::NotWritable`], and those of
    /// [`Catalog::open_or_create`].
    pub fn open_or_create(directory: &Path, model: &ModelIdentity) -> Result<Self> {
        create_directory(directory)?;
        let catalog = Catalog::open_or_create(&directory.join(DATABASE_FILE), model)?;
        Ok(Self { directory: directory.to_owned(), catalog })
    }

    /// Empties a library, or creates one, for the pictures of `model`, whichever model made it before.
    ///
    /// # Errors
    /// Those of [`Catalog::rebuild`].
    pub fn rebuild(directory: &Path, model: &ModelIdentity) -> Result<Self> {
        create_directory(directory)?;
        let catalog = Catalog::rebuild(&directory.join(DATABASE_FILE), model)?;
        Ok(Self { directory: directory.to_owned(), catalog })
    }

    /// Takes the right to fill the library in `directory`, which is created if need be. While another process has it,
    /// `wait` is told who that is, and says whether to go on waiting.
    ///
    /// # Errors
    /// [`Error::NotWritable`]; [`Error::Cancelled`] if `wait` gives up.
    pub fn lock(directory: &Path, wait: impl FnMut(&str) -> bool) -> Result<IndexLock> {
        create_directory(directory)?;
        IndexLock::acquire(directory, wait)
    }

    /// Opens a library to change it, whichever model made it.
    ///
    /// # Errors
    /// [`Error::NoLibrary`], [`Error::NotWritable`], and those of [`Catalog::open_or_create`].
    pub fn open_to_change(directory: &Path) -> Result<Self> {
        let model = Self::open(directory)?.catalog.model().clone();
        Self::open_or_create(directory, &model)
    }

    /// Saves what can be read of a damaged library; see [`Catalog::repair`]. One that is whole stays as it is: nothing was
    /// repaired then.
    ///
    /// # Errors
    /// [`Error::NoLibrary`], and those of [`Catalog::repair`].
    pub fn repair(directory: &Path) -> Result<Option<Repaired>> {
        let path = directory.join(DATABASE_FILE);
        if !path.is_file() {
            return Err(Error::NoLibrary { path: directory.to_owned(), expected: DATABASE_FILE.to_owned() });
        }
        let is_whole = |catalog: Catalog| catalog.check().is_ok_and(|health| health.faults.is_empty());
        if Catalog::open(&path).is_ok_and(is_whole) {
            return Ok(None);
        }
        Catalog::repair(&path).map(Some)
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What it remembers.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What it remembers, to be changed.
    pub fn catalog_mut(&mut self) -> &mut Catalog {
        &mut self.catalog
    }

    /// Reads all vectors, ready for any number of searches by the model `fingerprint`.
    ///
    /// # Errors
    /// [`Error::OtherModel`], and those of [`Catalog::index`].
    pub fn index(&self, fingerprint: &str) -> Result<ExactIndex> {
        self.index_among(fingerprint, &PictureFilter::default())
    }

    /// The same for the pictures that `filter` lets through.
    ///
    /// # Errors
    /// As for [`index`](Self::index).
    pub fn index_among(&self, fingerprint: &str, filter: &PictureFilter) -> Result<ExactIndex> {
        self.catalog.ensure_model(fingerprint)?;
        self.catalog.index_of(filter)
    }

    /// The pictures behind hits, in their order.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the library does not have one of them.
    pub fn resolve(&self, hits: &[Hit]) -> Result<Vec<FoundImage>> {
        let found = |hit: &Hit| {
            Ok(FoundImage { image: self.catalog.image(hit.id)?, score: hit.score, evidence: None })
        };
        hits.iter().map(found).collect()
    }

    /// The pictures of a ranking, each with what is known about it.
    ///
    /// # Errors
    /// As for [`resolve`](Self::resolve).
    pub fn resolve_ranking(&self, ranking: &Ranking) -> Result<Vec<FoundImage>> {
        let mut found = self.resolve(&ranking.hits)?;
        for (found, evidence) in found.iter_mut().zip(&ranking.evidence) {
            found.evidence = Some(*evidence);
        }
        Ok(found)
    }

    /// Finds the `k` best pictures for a query.
    ///
    /// # Errors
    /// [`Error::OtherModel`]; those of pipeline and embedder; [`Error::Corrupt`].
    pub fn search(
        &self,
        query: &Query,
        k: usize,
        pipeline: &Pipeline,
        embedder: &dyn TextEmbedder,
    ) -> Result<(Vec<FoundImage>, Ranking)> {
        let index = self.index(embedder.fingerprint())?;
        let ranking = pipeline.search(query, k, embedder, &index)?;
        Ok((self.resolve_ranking(&ranking)?, ranking))
    }

    /// Removes pictures by their paths, and says how many there were.
    ///
    /// # Errors
    /// Those of [`Catalog::remove`].
    pub fn remove<P: AsRef<Path>>(&mut self, paths: &[P]) -> Result<usize> {
        self.catalog.remove(paths)
    }
}

fn create_directory(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(|error| match write_error(directory, &error) {
        // "File exists" says little about a file that stands where the directory should be.
        Error::Io(_) if directory.is_file() => Error::NotWritable {
            path: directory.to_owned(),
            reason: "expected a directory for the library, found a file".to_owned(),
        },
        error => error,
    })
}
