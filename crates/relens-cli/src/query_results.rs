//! What became of every single query of an evaluation.

use std::sync::{Mutex, PoisonError};

use relens::dataset::Dataset;
use relens::enhancer::{EnhancedQuery, Query, QueryEnhancer, WeightedText};
use relens::error::Result;
use relens::evaluation::GroundTruthRanks;
use relens::ranking::hubness::HubnessCalibration;
use serde::Serialize;

/// An enhancer that remembers what it made of the queries, in their order.
pub(crate) struct Recorder<'a> {
    enhancer: &'a dyn QueryEnhancer,
    enhanced: Mutex<Vec<Vec<WeightedText>>>,
}

/// Every caption and every picture with its rank.
#[derive(Debug, Serialize)]
pub(crate) struct QueryResults {
    queries: Vec<QueryResult>,
    pictures: Vec<PictureResult>,
}

#[derive(Debug, Serialize)]
struct QueryResult {
    query: String,
    image: String,
    rank: u32,
    texts: Vec<WeightedText>,
}

#[derive(Debug, Serialize)]
struct PictureResult {
    image: String,
    rank: u32,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(enhancer: &'a dyn QueryEnhancer) -> Self {
        Self { enhancer, enhanced: Mutex::default() }
    }

    fn remember(&self, enhanced: &[EnhancedQuery]) {
        // A panic elsewhere must not turn a result into a second one.
        let mut all = self.enhanced.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(enhanced.iter().map(|query| query.texts.clone()));
    }

    /// The captions of `dataset`, which were enhanced in their order, with their ranks.
    pub(crate) fn results(self, dataset: &Dataset, ranks: &GroundTruthRanks) -> QueryResults {
        let enhanced = self.enhanced.into_inner().unwrap_or_else(PoisonError::into_inner);
        let path = |image: usize| {
            dataset
                .images
                .get(image)
                .map_or_else(String::new, |image| image.path.to_string_lossy().into_owned())
        };
        let captions = dataset.captions().zip(&ranks.text_to_image).zip(enhanced);
        let queries = captions.map(|(((image, caption), &rank), texts)| QueryResult {
            query: caption.to_owned(),
            image: path(image),
            rank,
            texts,
        });
        let captioned = (0..dataset.images.len())
            .filter(|&image| dataset.images.get(image).is_some_and(|image| !image.captions.is_empty()));
        let pictures = captioned
            .zip(&ranks.image_to_text)
            .map(|(image, &rank)| PictureResult { image: path(image), rank });
        QueryResults { queries: queries.collect(), pictures: pictures.collect() }
    }
}

impl QueryEnhancer for Recorder<'_> {
    fn name(&self) -> &str {
        self.enhancer.name()
    }

    fn enhance(&self, query: &Query) -> Result<EnhancedQuery> {
        let enhanced = self.enhancer.enhance(query)?;
        self.remember(std::slice::from_ref(&enhanced));
        Ok(enhanced)
    }

    fn enhance_batch(&self, queries: &[Query]) -> Result<Vec<EnhancedQuery>> {
        let enhanced = self.enhancer.enhance_batch(queries)?;
        self.remember(&enhanced);
        Ok(enhanced)
    }

    fn calibration(&self) -> Option<&HubnessCalibration> {
        self.enhancer.calibration()
    }
}
