//! The library that is searched, read again when another process has changed it.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use relens::error::Result;
use relens::index::ExactIndex;
use relens::library::catalog::CatalogImage;
use relens::library::filter::PictureFilter;
use relens::library::{DATABASE_FILE, FoundImage, Library};
use relens::ranking::Ranking;

use crate::metrics::Metrics;

/// While a library is being filled it changes all the time: reading it may take this share of the time, at most.
const SHARE_OF_READING: u32 = 10;
/// Selections of pictures whose vectors are held beside those of all: while somebody types, one is asked for often.
const MOST_FILTERED: usize = 4;

/// A library that may change, vanish or be made anew while it is open.
pub(crate) struct OpenLibrary {
    directory: PathBuf,
    metrics: Arc<Metrics>,
    state: Mutex<Option<OpenedLibrary>>,
}

struct OpenedLibrary {
    library: Library,
    /// The file that was opened: another one may stand in its place later.
    file: FileIdentity,
    version: i64,
    index: Arc<ExactIndex>,
    /// Those of the pictures that a filter lets through, the latest last.
    filtered: Vec<(PictureFilter, Arc<ExactIndex>)>,
    read_at: Instant,
    reading_took: Duration,
}

/// Tells a file from another of the same name.
type FileIdentity = (u64, u64);

#[cfg(unix)]
fn identity(metadata: &std::fs::Metadata) -> FileIdentity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &std::fs::Metadata) -> FileIdentity {
    // An open file cannot be replaced there.
    (0, 0)
}

impl OpenLibrary {
    pub(crate) fn new(directory: PathBuf, metrics: Arc<Metrics>) -> Self {
        Self { directory, metrics, state: Mutex::default() }
    }

    /// The vectors of all pictures, as they are now or were a moment ago.
    ///
    /// # Errors
    /// There is no library, or it cannot be read.
    pub(crate) fn index(&self) -> Result<Arc<ExactIndex>> {
        self.with(|state| Ok(state.index.clone()))
    }

    /// The vectors of the pictures that `filter` lets through.
    ///
    /// # Errors
    /// As for [`index`](Self::index).
    pub(crate) fn index_among(&self, filter: &PictureFilter) -> Result<Arc<ExactIndex>> {
        if filter.is_empty() {
            return self.index();
        }
        self.with(|state| {
            if let Some((_, index)) = state.filtered.iter().find(|(known, _)| known == filter) {
                return Ok(index.clone());
            }
            let index = Arc::new(state.library.catalog().index_of(filter)?);
            if state.filtered.len() >= MOST_FILTERED {
                state.filtered.remove(0);
            }
            state.filtered.push((filter.clone(), index.clone()));
            Ok(index)
        })
    }

    /// Does something with the library and the vectors that were read from it.
    ///
    /// # Errors
    /// As for [`index`](Self::index), and those of `work`.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Library, &ExactIndex) -> Result<T>) -> Result<T> {
        self.with(|state| work(&state.library, &state.index))
    }

    /// The pictures of a ranking. One that was removed since the vectors were read is left out.
    ///
    /// # Errors
    /// As for [`index`](Self::index).
    pub(crate) fn resolve(&self, ranking: &Ranking) -> Result<Vec<FoundImage>> {
        self.with(|state| {
            let mut found = Vec::with_capacity(ranking.hits.len());
            for (rank, hit) in ranking.hits.iter().enumerate() {
                if let Some(image) = state.library.catalog().find_image(hit.id)? {
                    let evidence = ranking.evidence.get(rank).copied();
                    found.push(FoundImage { image, score: hit.score, evidence });
                }
            }
            Ok(found)
        })
    }

    /// One picture.
    ///
    /// # Errors
    /// As for [`index`](Self::index).
    pub(crate) fn image(&self, id: u64) -> Result<Option<CatalogImage>> {
        self.with(|state| state.library.catalog().find_image(id))
    }

    fn with<T>(&self, work: impl FnOnce(&mut OpenedLibrary) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut state)?;
        match state.as_mut() {
            Some(state) => work(state),
            // `refresh` leaves a state behind, or an error.
            None => Err(relens::error::Error::Cancelled),
        }
    }

    fn refresh(&self, state: &mut MutexGuard<'_, Option<OpenedLibrary>>) -> Result<()> {
        let metadata = fs_err::metadata(self.directory.join(DATABASE_FILE)).ok();
        let file = metadata.as_ref().map(identity);
        if let Some(open) = state.as_mut()
            && Some(open.file) == file
        {
            // Before the vectors are read: a change in between is then seen the next time.
            let version = open.library.catalog().data_version()?;
            let rested = open.read_at.elapsed() >= open.reading_took * SHARE_OF_READING;
            if version != open.version && rested {
                let begun = Instant::now();
                open.index = Arc::new(open.library.catalog().index()?);
                open.filtered.clear();
                open.version = version;
                self.has_read(open, begun);
            }
            return Ok(());
        }
        // Nothing of a library that is gone may be found.
        **state = None;
        let begun = Instant::now();
        let library = Library::open(&self.directory)?;
        let version = library.catalog().data_version()?;
        let index = Arc::new(library.catalog().index()?);
        let file = file.unwrap_or_default();
        let reading_took = Duration::ZERO;
        let mut open = OpenedLibrary {
            library,
            file,
            version,
            index,
            filtered: Vec::new(),
            read_at: begun,
            reading_took,
        };
        self.has_read(&mut open, begun);
        **state = Some(open);
        Ok(())
    }

    fn has_read(&self, state: &mut OpenedLibrary, begun: Instant) {
        state.read_at = Instant::now();
        state.reading_took = begun.elapsed();
        self.metrics.library_loads.fetch_add(1, Ordering::Relaxed);
        self.metrics.stage("read_library", state.reading_took);
    }
}
