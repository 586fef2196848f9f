//! A library: a folder of pictures, made searchable.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use relens::embed::ImageEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::enhancer::{EnhancedQuery, Query};
use relens::error::Error;
use relens::index::{ExactIndex, Index};
use relens::library::catalog::CatalogImage;
use relens::library::filter::{self, PictureFilter, SplitSearch};
use relens::library::{
    DATABASE_FILE, FoundImage, HitSelection, IndexingOptions, IndexingSummary, Library as Opened, Selected,
};
use relens::progress::Progress;
use relens::ranking::Ranking;

use crate::enhancer::Enhancer;
use crate::fault::{Fault, Result};
use crate::retriever::Retriever;
use crate::{arrays, work};

/// Pictures that can be searched.
#[pyclass(frozen, module = "relens._relens")]
pub(crate) struct Library {
    directory: PathBuf,
    state: Arc<Mutex<State>>,
}

/// What is open; nothing before the first use, and after the library was closed.
#[derive(Default)]
struct State {
    closed: bool,
    library: Option<Opened>,
    vectors: Option<Vectors>,
}

/// The vectors as they were read, and when the library's files were changed last before that.
struct Vectors {
    index: Arc<ExactIndex>,
    written: [Option<(SystemTime, u64)>; 2],
}

/// A picture for Python: id, path, width, height, taken (seconds since 1970, by the camera's clock), camera.
type PictureRow = (u64, PathBuf, u32, u32, Option<i64>, Option<String>);
/// What was found for Python: the picture, its score, and where known similarity and estimated fit.
type FoundRow = (PictureRow, f32, Option<f32>, Option<f32>);
/// Numbers and vectors for Python.
type NumberedVectors<'py> = (Bound<'py, PyArray1<u64>>, Bound<'py, PyArray2<f32>>);
/// The conditions of a search: name and value, as a query can hold them.
type Conditions = Vec<(String, String)>;

impl State {
    fn open(&mut self, directory: &Path) -> Result<&mut Opened> {
        if self.closed {
            return Err(Fault::Closed);
        }
        match &mut self.library {
            Some(library) => Ok(library),
            unopened => Ok(unopened.insert(Opened::open(directory)?)),
        }
    }

    /// All vectors; read again when the library was written since.
    fn vectors(&mut self, directory: &Path) -> Result<Arc<ExactIndex>> {
        let written = written(directory);
        if let Some(known) = self.vectors.as_ref().filter(|known| known.written == written && !self.closed) {
            return Ok(known.index.clone());
        }
        let index = Arc::new(self.open(directory)?.catalog().index()?);
        self.vectors = Some(Vectors { index: index.clone(), written });
        Ok(index)
    }

    /// The vectors that conditions let through.
    fn among(&mut self, directory: &Path, filter: &PictureFilter) -> Result<Arc<ExactIndex>> {
        if filter.is_empty() {
            return self.vectors(directory);
        }
        Ok(Arc::new(self.open(directory)?.catalog().index_of(filter)?))
    }
}

/// When the database and its log were changed last.
fn written(directory: &Path) -> [Option<(SystemTime, u64)>; 2] {
    let state = |name: String| {
        let metadata = std::fs::metadata(directory.join(name)).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    [state(DATABASE_FILE.to_owned()), state(format!("{DATABASE_FILE}-wal"))]
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn filter_of(conditions: &Conditions) -> Result<PictureFilter> {
    let mut filter = PictureFilter::default();
    for (name, value) in conditions {
        filter.set(name, value)?;
    }
    filter.check()?;
    Ok(filter)
}

#[pymethods]
impl Library {
    #[new]
    fn new(directory: PathBuf) -> Self {
        Self { directory, state: Arc::default() }
    }

    /// Closes the library; what is at work finishes first.
    fn close(&self, py: Python<'_>) {
        py.detach(|| *locked(&self.state) = State { closed: true, ..State::default() });
    }

    /// The name of the model that made the vectors.
    fn model_name(&self, py: Python<'_>) -> Result<String> {
        self.with(py, |state, directory| Ok(state.open(directory)?.catalog().model().name.clone()))
    }

    fn image_count(&self, py: Python<'_>) -> Result<usize> {
        self.with(py, |state, directory| Ok(state.open(directory)?.catalog().image_count()?))
    }

    /// Brings the library up to date with a folder of pictures.
    #[expect(clippy::too_many_arguments, reason = "the keyword arguments of one call")]
    fn index<'py>(
        &self,
        py: Python<'py>,
        pictures: PathBuf,
        retriever: &Retriever,
        batch_size: usize,
        follow_links: bool,
        verify: bool,
        rebuild: bool,
        on_progress: Option<Py<PyAny>>,
    ) -> Result<Bound<'py, PyDict>> {
        let (directory, state, retriever) =
            (self.directory.clone(), self.state.clone(), retriever.encoder.clone());
        let options = IndexingOptions { batch_size, follow_links, verify, ..IndexingOptions::default() };
        let (summary, images) = work::run(py, on_progress.as_ref(), move |progress| {
            // A mistyped directory must not leave an empty library behind.
            std::fs::read_dir(&pictures).map_err(|error| {
                Error::Io(std::io::Error::new(error.kind(), format!("{}: {error}", pictures.display())))
            })?;
            let mut state = locked(&state);
            if state.closed {
                return Err(Fault::Closed);
            }
            let _lock = Opened::lock(&directory, |_| !progress.cancelled())?;
            // Not twice open in one process, and nothing of before is used afterwards.
            (state.library, state.vectors) = (None, None);
            let model = retriever.model();
            let mut library = match rebuild {
                true => Opened::rebuild(&directory, &model)?,
                false => Opened::open_or_create(&directory, &model)?,
            };
            let summary = library.index_directory(&pictures, retriever.as_ref(), &options, progress)?;
            let images = library.catalog().image_count()?;
            state.library = Some(library);
            Ok((summary, images))
        })?;
        if summary.cancelled {
            return Err(Error::Cancelled.into());
        }
        described(py, &summary, images)
    }

    /// The best pictures for a query, and what the query became.
    #[expect(clippy::too_many_arguments, reason = "the keyword arguments of one call")]
    fn search_text<'py>(
        &self,
        py: Python<'py>,
        query: String,
        k: usize,
        retriever: &Retriever,
        enhancer: &Enhancer,
        conditions: Conditions,
        no_dates: bool,
    ) -> Result<(Vec<FoundRow>, Bound<'py, PyAny>)> {
        let (directory, state) = (self.directory.clone(), self.state.clone());
        let (encoder, pipeline) = (retriever.encoder.clone(), enhancer.pipeline.clone());
        let found = work::run(py, None, move |_| {
            let today = (!no_dates).then(filter::today);
            let SplitSearch { filter, words, .. } = filter_of(&conditions)?.split(&query, today)?;
            let query = Query::new(&words)?;
            let index = {
                let mut state = locked(&state);
                state.open(&directory)?.catalog().ensure_model(encoder.fingerprint())?;
                state.among(&directory, &filter)?
            };
            let rank = |wanted| pipeline.search(&query, wanted, encoder.as_ref(), index.as_ref());
            let selected = selected(k, index.len(), rank, &state, &directory)?;
            Ok((selected.found, selected.ranking.enhanced))
        });
        let (found, enhanced): (Vec<FoundImage>, EnhancedQuery) = found?;
        Ok((found.into_iter().map(found_row).collect(), pythonize::pythonize(py, &enhanced)?))
    }

    /// The pictures nearest to a vector, float32 `[dim]`.
    fn search_vector(
        &self,
        py: Python<'_>,
        vector: PyReadonlyArray1<'_, f32>,
        k: usize,
        conditions: Conditions,
    ) -> Result<Vec<FoundRow>> {
        let values = arrays::values("query", &vector)?.to_vec();
        arrays::ensure_finite("query", &values, values.len())?;
        let mut query = Embeddings::from_rows(values.len(), values)?;
        query.normalise();
        let (directory, state) = (self.directory.clone(), self.state.clone());
        let found = work::run(py, None, move |_| {
            let filter = filter_of(&conditions)?;
            let index = locked(&state).among(&directory, &filter)?;
            let rank = |wanted| {
                let hits = index.search(&query, wanted)?.pop().unwrap_or_default();
                Ok(Ranking { hits, ..Ranking::default() })
            };
            Ok(selected(k, index.len(), rank, &state, &directory)?.found)
        })?;
        Ok(found.into_iter().map(found_row).collect())
    }

    /// All pictures in the order of `vectors`.
    fn pictures(&self, py: Python<'_>) -> Result<Vec<PictureRow>> {
        self.with(py, |state, directory| {
            let ids = state.vectors(directory)?.ids().to_vec();
            let catalog = state.open(directory)?.catalog();
            ids.into_iter().map(|id| Ok(picture_row(catalog.image(id)?))).collect()
        })
    }

    /// All vectors: the pictures' numbers, uint64 `[n]`, and float32 `[n, dim]`.
    fn vectors<'py>(&self, py: Python<'py>) -> Result<NumberedVectors<'py>> {
        let (ids, vectors) = self.with(py, |state, directory| {
            let index = state.vectors(directory)?;
            let ids = index.ids().to_vec();
            let vectors = index.vectors(&ids)?;
            Ok((ids, vectors))
        })?;
        Ok((ids.into_pyarray(py), arrays::of_embeddings(py, vectors)?))
    }

    /// Removes pictures by their paths, and says how many there were.
    fn remove(&self, py: Python<'_>, paths: Vec<PathBuf>) -> Result<usize> {
        self.with(py, |state, directory| {
            if state.closed {
                return Err(Fault::Closed);
            }
            (state.library, state.vectors) = (None, None);
            Ok(state.library.insert(Opened::open_to_change(directory)?).remove(&paths)?)
        })
    }
}

impl Library {
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut State, &Path) -> Result<T> + Send,
    ) -> Result<T> {
        work::briefly(py, || work(&mut locked(&self.state), &self.directory))
    }
}

/// The `k` best pictures that are there, as the command shows them, among `everything` that `rank` can find.
fn selected(
    k: usize,
    everything: usize,
    rank: impl Fn(usize) -> relens::error::Result<Ranking>,
    state: &Mutex<State>,
    directory: &Path,
) -> Result<Selected> {
    let selection = HitSelection { k, with_missing: false, min_fit: None };
    let mut state = locked(state);
    let library = state.open(directory)?;
    Ok(selection.search(everything, rank, |ranking| library.resolve_ranking(ranking))?)
}

fn picture_row(image: CatalogImage) -> PictureRow {
    (image.id, image.path, image.width, image.height, image.taken, image.camera)
}

fn found_row(found: FoundImage) -> FoundRow {
    let similarity = found.evidence.map(|evidence| evidence.similarity);
    let fits = found.evidence.and_then(|evidence| evidence.fits);
    (picture_row(found.image), found.score, similarity, fits)
}

/// A summary under the names that `relens index --json` has.
fn described<'py>(py: Python<'py>, summary: &IndexingSummary, images: usize) -> Result<Bound<'py, PyDict>> {
    let counts = [
        ("added", summary.added),
        ("changed", summary.updated),
        ("moved", summary.moved),
        ("copied", summary.copied),
        ("removed", summary.deleted),
        ("unchanged", summary.unchanged),
        ("skipped", summary.skipped),
        ("unreadable", summary.unreadable),
        ("images", images),
    ];
    let described = PyDict::new(py);
    for (name, count) in counts {
        described.set_item(name, count)?;
    }
    Ok(described)
}
