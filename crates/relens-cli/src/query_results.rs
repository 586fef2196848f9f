//! What became of every single query of an evaluation.

use relens::dataset::Dataset;
use relens::enhancer::WeightedText;
use relens::evaluation::GroundTruthRanks;
use serde::Serialize;

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
            .map(|(image, &rank)| PictureResult { image: path(image), rank });
        Self { queries: queries.collect(), pictures: pictures.collect() }
    }
}
