//! What became of every single query of an evaluation.

use relens::dataset::Dataset;
use relens::enhancer::WeightedText;
use relens::evaluation::GroundTruthRanks;
use serde::{Deserialize, Serialize};

/// Every caption and every picture with its rank.
#[derive(Debug, Serialize)]
pub(crate) struct QueryResults {
    queries: Vec<QueryResult>,
    pictures: Vec<ImageResult>,
}

/// A caption that searched for its picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct QueryResult {
    pub(crate) query: String,
    pub(crate) image: String,
    pub(crate) rank: u32,
    /// What the enhancer made of it; empty where nobody wrote that down.
    #[serde(default)]
    pub(crate) texts: Vec<WeightedText>,
}

/// A picture that searched for its captions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageResult {
    pub(crate) image: String,
    pub(crate) rank: u32,
}

impl QueryResults {
    /// The captions of `dataset`, which became `enhanced` in their order, with their ranks.
    pub(crate) fn new(dataset: &Dataset, ranks: &GroundTruthRanks, enhanced: Vec<Vec<WeightedText>>) -> Self {
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
            .map(|(image, &rank)| ImageResult { image: path(image), rank });
        Self { queries: queries.collect(), pictures: pictures.collect() }
    }
}
