//! Measuring, and comparing what was measured.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use relens::dataset::Dataset;
use relens::embed::TextEmbedder;
use relens::embed::embedding_cache::EmbeddingCache;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever as Encoder;
use relens::error::Error;
use relens::evaluation::{self, BootstrapOptions, Evaluation, GroundTruthRanks};
use relens::progress::Progress;
use relens::ranking::Pipeline;

use crate::arrays;
use crate::enhancer::Enhancer;
use crate::fault::{Fault, Result};
use crate::retriever::Retriever;
use crate::work::{self, Reports};

/// The numbers, then the ranks of captions, those of pictures, and the picture of each caption.
type Measured<'py> =
    (Bound<'py, PyAny>, Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<u64>>);

/// Measures retrieval both ways on a captioned dataset.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "the keyword arguments of one call")]
pub(crate) fn evaluate<'py>(
    py: Python<'py>,
    annotations: PathBuf,
    images: Option<PathBuf>,
    split: Option<String>,
    retriever: &Retriever,
    enhancer: &Enhancer,
    recall_k: Vec<usize>,
    sample: Option<(usize, u64)>,
    on_progress: Option<Py<PyAny>>,
) -> Result<Measured<'py>> {
    let (encoder, pipeline) = (retriever.encoder.clone(), enhancer.pipeline.clone());
    let Evaluation { report, ranks } = work::run(py, on_progress.as_ref(), move |progress| {
        let start = std::time::Instant::now();
        let beside = || annotations.parent().map(PathBuf::from).unwrap_or_default();
        let mut dataset = Dataset::open(&annotations, &images.unwrap_or_else(beside))?;
        if let Some(split) = &split {
            dataset = dataset.split(split)?;
        }
        if let Some((count, seed)) = sample {
            dataset = dataset.sample(count, seed);
        }
        dataset.ensure_images_exist()?;
        let paths: Vec<PathBuf> = dataset.images.iter().map(|image| image.path.clone()).collect();
        let vectors = EmbeddingCache::nowhere().images(encoder.as_ref(), &paths, progress)?;
        let mut measured = measure(&dataset, &vectors, encoder, &pipeline, &recall_k, progress)?;
        measured.report.seconds = start.elapsed().as_secs_f64();
        Ok(measured)
    })?;
    let images: Vec<u64> = ranks.image_of_caption.iter().map(|&image| image as u64).collect();
    Ok((
        pythonize::pythonize(py, &report)?,
        ranks.text_to_image.into_pyarray(py),
        ranks.image_to_text.into_pyarray(py),
        images.into_pyarray(py),
    ))
}

/// An encoder that refuses once the work is to stop: an evaluation asks nobody else between its batches.
struct Stoppable {
    encoder: Arc<Encoder>,
    stopped: Arc<AtomicBool>,
}

impl TextEmbedder for Stoppable {
    fn name(&self) -> &str {
        self.encoder.name()
    }

    fn fingerprint(&self) -> &str {
        self.encoder.fingerprint()
    }

    fn directory(&self) -> Option<&std::path::Path> {
        TextEmbedder::directory(self.encoder.as_ref())
    }

    fn embed_texts(&self, texts: &[&str]) -> relens::error::Result<Embeddings> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        self.encoder.embed_texts(texts)
    }
}

fn measure(
    dataset: &Dataset,
    vectors: &Embeddings,
    encoder: Arc<Encoder>,
    pipeline: &Pipeline,
    recall_k: &[usize],
    progress: &mut Reports,
) -> Result<Evaluation> {
    progress.begin("captions", dataset.caption_count() as u64);
    let mut done = 0;
    let encoder = Stoppable { encoder, stopped: progress.stopped() };
    let measured = evaluation::evaluate(dataset, vectors, &encoder, pipeline, recall_k, &mut |enhanced| {
        done += enhanced.len() as u64;
        progress.advance(done);
    })?;
    progress.end();
    Ok(measured)
}

/// Ranks of one run: of captions, of pictures, and the picture of each caption.
#[derive(FromPyObject)]
pub(crate) struct Ranks<'py>(
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, u64>,
);

impl Ranks<'_> {
    fn owned(&self) -> Result<GroundTruthRanks> {
        let Self(text_to_image, image_to_text, image_of_caption) = self;
        let images = arrays::values("image_of_caption", image_of_caption)?.iter();
        let images = images.map(|&image| {
            usize::try_from(image).map_err(|_| Fault::Argument {
                name: "image_of_caption",
                expected: "positions of pictures".to_owned(),
                found: image.to_string(),
            })
        });
        Ok(GroundTruthRanks {
            text_to_image: arrays::values("text_to_image_ranks", text_to_image)?.to_vec(),
            image_to_text: arrays::values("image_to_text_ranks", image_to_text)?.to_vec(),
            image_of_caption: images.collect::<Result<_>>()?,
        })
    }
}

/// Recall@k of the second run and how far it is from the first, with intervals of a paired bootstrap.
#[pyfunction]
pub(crate) fn compare<'py>(
    py: Python<'py>,
    baseline: Ranks<'py>,
    found: Ranks<'py>,
    recall_k: Vec<usize>,
    samples: usize,
    seed: u64,
    confidence: f64,
) -> Result<Bound<'py, PyAny>> {
    let (baseline, found) = (baseline.owned()?, found.owned()?);
    let options = BootstrapOptions { samples, seed, confidence };
    let compared =
        work::run(py, None, move |_| Ok(evaluation::compare(&baseline, &found, &recall_k, &options)?))?;
    Ok(pythonize::pythonize(py, &compared)?)
}
