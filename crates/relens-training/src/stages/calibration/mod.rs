//! Fitting the estimate of whether what was found is what was asked for ([`relens::ranking::fit`]).
//!
//! Captions that a retriever has not learned have a picture that fits, and so has what people ask for these pictures;
//! queries of things that no picture shows have none. One logistic regression tells the two apart by what is known of a
//! query; one for first hits and one for those behind tell the right hits by how far they lead. The pictures are
//! searched as libraries of many sizes. What comes out belongs into `[fit]` of the retriever's `enhancer.toml`.

mod questions;
mod reliability;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relens::dataset::Dataset;
use relens::embed::embedding_cache::EmbeddingCache;
use relens::embed::reference_pairs::ReferencePairs;
use relens::embed::retriever::Retriever;
use relens::english::{Vocabulary, vocabulary};
use relens::enhancer::Query;
use relens::enhancer::open::EnhancerContext;
use relens::index::ExactIndex;
use relens::knowledge::knowledge_base;
use relens::model_hub::bundled;
use relens::progress::Progress;
use relens::ranking::Pipeline;
use relens::ranking::fit::{COMPARED_HITS, Fit, FitConfig, HitFitConfig, QueryFeatures};
use serde::{Deserialize, Serialize};

use questions::{Questions, deal};
pub use reliability::{Reliability, ReliabilityBin};

use super::logistic;
use crate::config_file::read_toml;
use crate::{Result, TrainingError};

/// Queries that are answered together.
const QUERIES_PER_BATCH: usize = 256;
/// The share of queries without a picture that the line is to stand above.
const REFUSED: f64 = 0.92;
/// The share of right pictures among the first hits that may stand below the line.
const LOST: f64 = 0.02;

/// Captions of pictures that a retriever has not learned, and queries that none of them fits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationSample {
    /// The annotations, in any format that [`relens::dataset`] reads.
    pub annotations: PathBuf,
    /// Where the pictures lie.
    pub images: PathBuf,
    /// The pictures among which is searched, such as `train[:1000]`.
    pub split: String,
    /// The retriever, which has not learned these pictures.
    pub model: String,
    /// The enhancer, by any name that `--enhancer` takes. Default `default`.
    #[serde(default = "default_enhancer")]
    pub enhancer: String,
    /// Reference pairs of that retriever (`relens references`), of pictures that it has learned.
    pub pairs: PathBuf,
    /// A file with a query a line that no picture fits.
    pub absent: PathBuf,
    /// How many captions of each picture are asked. Default 2.
    #[serde(default = "captions")]
    pub captions: usize,
    /// What people ask for the pictures, in a format that [`AskedQueries`](relens::dataset::AskedQueries) reads; asked beside
    /// the captions.
    pub queries: Option<PathBuf>,
    /// The fields of `queries` that hold a query each. Default: `query`.
    #[serde(default)]
    pub query_field: Vec<String>,
    /// The smallest and the largest number of pictures of a library: the split is dealt out to libraries of random sizes
    /// between them, and each query asked in that of its picture. Default: one library.
    pub library_sizes: Option<[NonZeroUsize; 2]>,
    /// What the pictures are dealt out by. Default 0.
    #[serde(default)]
    pub seed: u64,
}

fn default_enhancer() -> String {
    "default".to_owned()
}

fn captions() -> usize {
    2
}

/// Settings of one fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationConfig {
    /// What is fitted on.
    #[serde(default)]
    pub sample: Vec<CalibrationSample>,
    /// What is measured on, never fitted on.
    pub measure: Option<CalibrationSample>,
    /// Numbers to measure in place of fitting them.
    pub fit: Option<FitConfig>,
    /// Where embeddings of pictures are kept. Default `runs/embedding-cache`.
    #[serde(default = "cache")]
    pub cache: PathBuf,
}

fn cache() -> PathBuf {
    PathBuf::from("runs/embedding-cache")
}

impl CalibrationConfig {
    /// Reads a TOML file. Relative paths in it are taken from the working directory.
    ///
    /// # Errors
    /// The file cannot be read, has an unknown or missing field, or says nothing to fit on.
    pub fn read(path: &Path) -> Result<Self> {
        let config: Self = read_toml(path)?;
        if config.sample.is_empty() && config.fit.is_none() {
            return Err(TrainingError::setting("sample", "at least one [[sample]], or [fit]", &"none"));
        }
        Ok(config)
    }
}

/// What the fit found, and how well it holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CalibrationReport {
    /// The numbers.
    pub fit: FitConfig,
    /// How they hold on what they were fitted on; nothing if they were given.
    pub fitted: Option<Reliability>,
    /// How they hold on `measure`.
    pub measured: Option<Reliability>,
}

/// A query with what is known of its answer.
#[derive(Debug, Clone, PartialEq)]
struct Observation {
    features: QueryFeatures,
    /// How far each of the first hits leads.
    leads: Vec<f64>,
    /// Whether a picture fits.
    present: bool,
    /// Whether it is a caption: of what people ask, fewer pictures are found, and hits would seem less sure than they are.
    caption: bool,
    /// Which of the hits is the right one.
    right: Option<usize>,
}

/// Fits the estimate, and measures it.
///
/// # Errors
/// Data, pictures or models that cannot be read; samples without captions or without queries that nothing fits.
pub fn fit(config: &CalibrationConfig, progress: &mut dyn Progress) -> Result<CalibrationReport> {
    let cache = EmbeddingCache::at(&config.cache);
    let mut observations = Vec::new();
    for sample in &config.sample {
        observations.extend(observe(sample, &cache, progress)?);
    }
    let fit = match config.fit {
        Some(fit) => fit,
        None => fitted(&observations)?,
    };
    let measured = match &config.measure {
        Some(sample) => Some(Reliability::of(&fit, &observe(sample, &cache, progress)?)),
        None => None,
    };
    let fitted = (!observations.is_empty()).then(|| Reliability::of(&fit, &observations));
    Ok(CalibrationReport { fit, fitted, measured })
}

fn observe(
    sample: &CalibrationSample,
    cache: &EmbeddingCache,
    progress: &mut dyn Progress,
) -> Result<Vec<Observation>> {
    let dataset = Dataset::open(&sample.annotations, &sample.images)?.split(&sample.split)?;
    let retriever = Arc::new(Retriever::load(&sample.model)?);
    let context = EnhancerContext { embedder: Some(retriever.clone()), ..EnhancerContext::default() };
    let mut pipeline = Pipeline::open(&sample.enhancer, &context)?;
    let words = bundled::model(knowledge_base::BUNDLED)?.join(vocabulary::BUNDLED_FILE);
    let vocabulary = Arc::new(Vocabulary::open(&words)?);
    let pairs = Arc::new(ReferencePairs::open(&sample.pairs)?);
    pipeline.fit = Some(Fit::new(&pairs, vocabulary, FitConfig::default())?);

    let questions = Questions::read(sample, &dataset)?;
    let libraries = deal(dataset.images.len(), sample.library_sizes, sample.seed)?;
    let paths: Vec<PathBuf> = dataset.images.iter().map(|image| image.path.clone()).collect();
    let vectors = cache.images(retriever.as_ref(), &paths, progress)?;
    progress.begin("queries", questions.count() as u64);
    let mut observations = Vec::with_capacity(questions.count());
    let mut dealt = 0;
    for library in &libraries {
        let ids = library.iter().map(|&image| image as u64).collect();
        let index = ExactIndex::from_parts(retriever.fingerprint(), ids, vectors.select(library)?)?;
        let asked = questions.of_library(library, dealt..dealt + library.len(), dataset.images.len());
        dealt += library.len();
        for batch in asked.chunks(QUERIES_PER_BATCH) {
            if progress.cancelled() {
                return Err(relens::error::Error::Cancelled.into());
            }
            let texts: Vec<Query> = batch.iter().map(|question| question.query.clone()).collect();
            let rankings = pipeline.search_batch(&texts, COMPARED_HITS, retriever.as_ref(), &index)?;
            for (ranking, question) in rankings.into_iter().zip(batch) {
                let Some(estimate) = ranking.fit else { continue };
                let image = question.image.map(|image| image as u64);
                observations.push(Observation {
                    features: estimate.features,
                    leads: estimate.leads,
                    present: image.is_some(),
                    caption: question.caption,
                    right: image.and_then(|image| ranking.hits.iter().position(|hit| hit.id == image)),
                });
            }
            progress.advance(observations.len() as u64);
        }
    }
    progress.end();
    Ok(observations)
}

fn fitted(observations: &[Observation]) -> Result<FitConfig> {
    // Of what has a picture counts what found it: a query whose picture is not among the first hits has nothing that fits in
    // them, and looks like one that has none.
    let found = observations.iter().filter(|one| one.present && one.right.is_some());
    let absent = observations.iter().filter(|one| !one.present);
    let (present, absent): (Vec<&Observation>, Vec<&Observation>) = (found.collect(), absent.collect());
    if present.is_empty() || absent.is_empty() {
        return Err(TrainingError::argument(
            "calibration",
            "captions, and queries that no picture fits",
            format!("{} captions, {} other queries", present.len(), absent.len()),
        ));
    }
    // Both kinds count alike, however many there are.
    let times = (present.len() / absent.len()).max(1);
    let rows = present.iter().map(|one| (one, true));
    let rows = rows.chain(absent.iter().flat_map(|one| std::iter::repeat_n((one, false), times)));
    let (rows, fits): (Vec<Vec<f64>>, Vec<bool>) =
        rows.map(|(one, fits)| (one.features.values().to_vec(), fits)).unzip();
    let (bias, weights) = logistic::fit(&rows, &fits, RIDGE).raw();

    let weight = |place: usize| weights.get(place).copied().unwrap_or(0.0);
    let mut fit = FitConfig {
        bias,
        similarity: weight(0),
        familiarity: weight(1),
        unseen: weight(2),
        spread: weight(3),
        pictures: weight(4),
        ..FitConfig::default()
    };
    // Of what people ask, fewer pictures are found, and hits would seem less sure than those of captions are.
    let judged = || observations.iter().filter(|one| one.caption || !one.present);
    fit.first_hit = fitted_hits(&fit, judged(), 0..1);
    fit.other_hits = fitted_hits(&fit, judged(), 1..COMPARED_HITS);
    fit.anything_line = quantile(absent.iter().map(|one| fit.anything(&one.features)).collect(), REFUSED);
    let right = present.iter().filter_map(|one| {
        let estimate = fit.estimate(one.features, one.leads.clone());
        estimate.hits.get(one.right?).copied()
    });
    fit.hit_line = quantile(right.collect(), LOST);
    Ok(fit)
}

/// The model of the hits of these ranks, by the probability that anything fits which `fit` has already.
fn fitted_hits<'a>(
    fit: &FitConfig,
    observations: impl Iterator<Item = &'a Observation>,
    ranks: Range<usize>,
) -> HitFitConfig {
    let (mut rows, mut right) = (Vec::new(), Vec::new());
    for one in observations {
        let anything = fit.anything(&one.features);
        for (rank, &lead) in one.leads.iter().enumerate().filter(|(rank, _)| ranks.contains(rank)) {
            rows.push(HitFitConfig::values(lead, anything, &one.features).to_vec());
            right.push(one.right == Some(rank));
        }
    }
    let (bias, weights) = logistic::fit(&rows, &right, RIDGE).raw();
    let weight = |place: usize| weights.get(place).copied().unwrap_or(0.0);
    HitFitConfig { bias, lead: weight(0), lead_pictures: weight(1), anything: weight(2), pictures: weight(3) }
}

/// λ of the ridge penalty: next to nothing, for there are thousands of rows and few weights.
const RIDGE: f64 = 1e-3;

/// The value below which this share of the others lies; 0 without values.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (share * values.len() as f64) as usize;
    values.get(place.min(values.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests;
