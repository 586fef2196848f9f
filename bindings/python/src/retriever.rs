//! The retriever: texts and pictures into vectors.

use std::path::PathBuf;
use std::sync::Arc;

use numpy::{PyArray2, PyArray3, PyReadonlyArray2, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;
use rayon::prelude::*;
use relens::embed::ImageEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::embed::long_text::LongText;
use relens::embed::retriever::{Precision, Retriever as Encoder};
use relens::embed::similarity::score_matrix;
use relens::error::Error;
use relens::model_hub::ModelHub;
use relens::progress::Progress;
use relens_models::image_preprocessing::{Preprocessor, RgbImage, RgbPixels};

use crate::fault::{Fault, Result};
use crate::{arrays, work};

/// Texts between two looks at whether to stop: what the encoder takes at once.
const TEXTS_PER_STEP: usize = 64;
/// The same for pictures, which take longer.
const IMAGES_PER_STEP: usize = 16;

/// Products of numbers between two looks at whether to stop: some hundredths of a second.
const PRODUCTS_PER_STEP: usize = 1 << 28;

/// A dual encoder.
#[pyclass(frozen, module = "relens._relens")]
pub(crate) struct Retriever {
    pub(crate) encoder: Arc<Encoder>,
}

/// A picture: its file, or its pixels, uint8 `[height, width, 3]`.
#[derive(FromPyObject)]
pub(crate) enum Picture<'py> {
    #[pyo3(transparent)]
    Pixels(PyReadonlyArray3<'py, u8>),
    #[pyo3(transparent)]
    File(PathBuf),
}

/// A picture on its way: still to be read, or scaled down already.
enum Prepared {
    File(PathBuf),
    Scaled(RgbImage),
}

#[pymethods]
impl Retriever {
    #[new]
    #[pyo3(signature = (model, precision, long_text, offline, on_progress = None))]
    fn new(
        py: Python<'_>,
        model: String,
        precision: &str,
        long_text: &str,
        offline: bool,
        on_progress: Option<Py<PyAny>>,
    ) -> Result<Self> {
        let (precision, long_text) = (precision_of(precision)?, long_text_of(long_text)?);
        let encoder = work::run(py, on_progress.as_ref(), move |progress| {
            let hub = ModelHub::from_environment().with_offline(offline);
            Encoder::load_from(&hub, &model, progress).map_err(|error| Fault::Unopened { model, error })
        })?;
        let encoder = encoder.with_precision(precision).with_long_text(long_text);
        Ok(Self { encoder: Arc::new(encoder) })
    }

    /// The model behind a name that `name` gave, and its precision.
    #[staticmethod]
    fn model_and_precision(name: &str) -> (String, &'static str) {
        let (model, precision) = Encoder::model_and_precision(name);
        (model.to_owned(), precision_name(precision))
    }

    #[getter]
    fn name(&self) -> &str {
        self.encoder.name()
    }

    #[getter]
    fn fingerprint(&self) -> &str {
        self.encoder.fingerprint()
    }

    #[getter]
    fn dim(&self) -> usize {
        self.encoder.dim()
    }

    #[getter]
    fn logit_scale(&self) -> f32 {
        self.encoder.logit_scale()
    }

    #[getter]
    fn truncated_texts(&self) -> usize {
        self.encoder.truncated_texts()
    }

    #[getter]
    fn directory(&self) -> PathBuf {
        self.encoder.encoder().directory().to_owned()
    }

    /// Vectors of texts, float32 `[n, dim]`, L2-normalised.
    fn encode_texts<'py>(&self, py: Python<'py>, texts: Vec<String>) -> Result<Bound<'py, PyArray2<f32>>> {
        let encoder = self.encoder.clone();
        let embeddings = work::run(py, None, move |progress| {
            in_steps(texts, TEXTS_PER_STEP, &encoder, progress, |texts| encoder.embed_texts(&texts))
        })?;
        arrays::of_embeddings(py, embeddings)
    }

    /// Vectors of pictures, float32 `[n, dim]`, L2-normalised.
    fn encode_images<'py>(
        &self,
        py: Python<'py>,
        pictures: Vec<Picture<'py>>,
    ) -> Result<Bound<'py, PyArray2<f32>>> {
        let prepared = scaled_down(py, self.encoder.preprocessor(), &pictures)?;
        drop(pictures);
        let encoder = self.encoder.clone();
        let embeddings = work::run(py, None, move |progress| {
            in_steps(prepared, IMAGES_PER_STEP, &encoder, progress, |pictures| {
                let frames = pictures.into_par_iter().map(|picture| picture.frames(&encoder));
                encoder.embed(&frames.collect::<relens::error::Result<Vec<_>>>()?)
            })
        })?;
        arrays::of_embeddings(py, embeddings)
    }

    /// The pixels that the image tower reads of a picture, uint8 `[height, width, 3]`; of a video, of its first frame.
    fn preprocess<'py>(&self, py: Python<'py>, picture: Picture<'py>) -> Result<Bound<'py, PyArray3<u8>>> {
        let prepared = scaled_down(py, self.encoder.preprocessor(), &[picture])?;
        let encoder = self.encoder.clone();
        let image = work::run(py, None, move |_| {
            let mut frames = Vec::new();
            for picture in prepared {
                frames.extend(picture.frames(&encoder)?);
            }
            frames.into_iter().next().ok_or_else(|| Fault::Internal("a picture without a frame".to_owned()))
        })?;
        arrays::of_image(py, image)
    }
}

impl Prepared {
    /// At the size of the image tower: one, or those of a video.
    fn frames(self, encoder: &Encoder) -> relens::error::Result<Vec<RgbImage>> {
        match self {
            Self::File(path) => Ok(encoder.prepare(&path)?.image),
            Self::Scaled(image) => Ok(vec![image]),
        }
    }
}

/// Embeds inputs a step at a time, so that work that nobody waits for any more ends soon.
fn in_steps<I>(
    mut inputs: Vec<I>,
    step: usize,
    encoder: &Encoder,
    progress: &mut dyn Progress,
    embed: impl Fn(Vec<I>) -> relens::error::Result<Embeddings>,
) -> Result<Embeddings> {
    let mut embeddings = Embeddings::new(encoder.dim());
    while !inputs.is_empty() {
        if progress.cancelled() {
            return Err(Error::Cancelled.into());
        }
        let rest = inputs.split_off(step.min(inputs.len()));
        embeddings.append(&embed(std::mem::replace(&mut inputs, rest))?)?;
    }
    Ok(embeddings)
}

/// Scales down what comes as pixels, in parallel and from where the pixels lie; Ctrl-C is heard between a few.
fn scaled_down(
    py: Python<'_>,
    preprocessor: &Preprocessor,
    pictures: &[Picture<'_>],
) -> Result<Vec<Prepared>> {
    let mut views = Vec::with_capacity(pictures.len());
    for picture in pictures {
        views.push(match picture {
            Picture::File(path) => Err(path.clone()),
            Picture::Pixels(array) => Ok(view(array)?),
        });
    }
    let mut prepared = Vec::with_capacity(pictures.len());
    for views in views.chunks(rayon::current_num_threads()) {
        let scaled: Vec<Prepared> = work::briefly(py, || {
            let scaled = views.par_iter().map(|view| match view {
                Err(path) => Ok(Prepared::File(path.clone())),
                Ok(pixels) => Ok(Prepared::Scaled(preprocessor.fit_pixels(pixels)?)),
            });
            scaled.collect::<Result<_>>()
        })?;
        prepared.extend(scaled);
        py.check_signals()?;
    }
    Ok(prepared)
}

fn view<'a>(array: &'a PyReadonlyArray3<'_, u8>) -> Result<RgbPixels<&'a [u8]>> {
    let refused = || Fault::Argument {
        name: "images",
        expected: "contiguous uint8 pixels of the shape (height, width, 3)".to_owned(),
        found: format!("the shape {:?}", array.shape()),
    };
    let &[height, width, 3] = array.shape() else { return Err(refused()) };
    let pixels = array.as_slice().map_err(|_| refused())?;
    let sides = u32::try_from(width).ok().zip(u32::try_from(height).ok());
    sides.and_then(|(width, height)| RgbPixels::from_raw(width, height, pixels)).ok_or_else(refused)
}

fn precision_of(name: &str) -> Result<Precision> {
    match name {
        "float32" => Ok(Precision::Float),
        "int8" => Ok(Precision::Int8),
        _ => Err(Fault::Argument {
            name: "precision",
            expected: "\"float32\" or \"int8\"".to_owned(),
            found: format!("{name:?}"),
        }),
    }
}

fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Float => "float32",
        Precision::Int8 => "int8",
    }
}

fn long_text_of(name: &str) -> Result<LongText> {
    match name {
        "truncate" => Ok(LongText::Truncate),
        "mean_of_windows" => Ok(LongText::MeanOfWindows),
        _ => Err(Fault::Argument {
            name: "long_text",
            expected: "\"truncate\" or \"mean_of_windows\"".to_owned(),
            found: format!("{name:?}"),
        }),
    }
}

/// The dot products of every row of `a` with every row of `b`, float32 `[m, n]`: for vectors of length 1, cosines.
#[pyfunction]
pub(crate) fn similarity<'py>(
    py: Python<'py>,
    a: PyReadonlyArray2<'py, f32>,
    b: PyReadonlyArray2<'py, f32>,
) -> Result<Bound<'py, PyArray2<f32>>> {
    let (&[m, dim], &[n, other]) = (a.shape(), b.shape()) else {
        return Err(Fault::Internal("matrices have two dimensions".to_owned()));
    };
    if dim != other {
        return Err(Fault::Argument {
            name: "b",
            expected: format!("vectors of {dim} components, as a has"),
            found: other.to_string(),
        });
    }
    let (left, right) = (arrays::rows("a", &a)?, arrays::rows("b", &b)?);
    work::briefly(py, || {
        arrays::ensure_finite("a", left, dim)?;
        arrays::ensure_finite("b", right, dim)
    })?;
    let mut scores = Vec::with_capacity(m * n);
    let rows = (PRODUCTS_PER_STEP / (n * dim).max(1)).max(1);
    for left in left.chunks((rows * dim).max(1)) {
        scores.extend(work::briefly(py, || Ok(score_matrix(left, right, dim)?))?);
        py.check_signals()?;
    }
    arrays::matrix(py, (m, n), scores)
}
