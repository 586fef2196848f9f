//! How well captions find their pictures, and pictures their captions.
//!
//! Text→image: every caption is a query, its picture the one right answer. Image→text: every picture is a query, and
//! any of its captions is right. Recall@k is the share of queries with a right answer among the first k, over all
//! captions; a tie with a wrong answer counts against us. The names in a [`RetrievalReport`] are clip_benchmark's.

mod bootstrap;
mod comparison;
pub mod familiarity;
mod metrics;
pub mod perturbation;
mod ranks;

use std::time::Instant;

pub use bootstrap::{BootstrapOptions, PairedBootstrap, Statistic, paired_bootstrap};
pub use comparison::{ComparedRecall, RunComparison, compare};
pub use metrics::RankingMetrics;
pub use metrics::RetrievalReport;
pub use ranks::{GroundTruthRanks, ScoreOffsets};

use crate::dataset::Dataset;
use crate::embed::TextEmbedder;
use crate::embed::embeddings::Embeddings;
use crate::enhancer::{EnhancedQuery, Query};
use crate::error::{Error, Result};
use crate::index::ExactIndex;
use crate::ranking::{CombinedQueries, Pipeline};

/// Captions that are enhanced and embedded together, so that the memory does not grow with their number.
const CAPTIONS_PER_BATCH: usize = 512;

/// The result of an evaluation: the numbers, and each query's rank for a comparison with another run.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The numbers.
    pub report: RetrievalReport,
    /// The ranks.
    pub ranks: GroundTruthRanks,
}

impl Evaluation {
    /// The same without image→text, which says nothing where few pictures have a query.
    #[must_use]
    pub fn text_to_image_only(mut self) -> Self {
        self.report.text_retrieval = None;
        self.ranks.image_to_text.clear();
        self
    }
}

/// Enhances and embeds all captions of `dataset` and ranks them against its pictures both ways.
///
/// `watch` gets what became of each batch of captions, in their order.
///
/// `report.seconds` counts what happens here; the caller adds the time for the pictures' embeddings if it matters.
///
/// # Shapes
/// - `images`: `[dataset.images.len(), dim]`, L2-normalised
///
/// # Errors
/// [`Error::Argument`] if `images` does not fit the dataset or there is no caption; those of pipeline and embedder.
pub fn evaluate(
    dataset: &Dataset,
    images: &Embeddings,
    embedder: &dyn TextEmbedder,
    pipeline: &Pipeline,
    recall_at: &[usize],
    watch: &mut dyn FnMut(Vec<EnhancedQuery>),
) -> Result<Evaluation> {
    let start = Instant::now();
    if images.rows() != dataset.images.len() {
        return Err(Error::Argument {
            operation: "evaluate",
            expected: format!(
                "{} embeddings, one for each picture of {}",
                dataset.images.len(),
                dataset.name
            ),
            found: images.rows().to_string(),
        });
    }
    let captions: Vec<(usize, &str)> = dataset.captions().collect();
    let ids = (0..images.rows() as u64).collect();
    let index = ExactIndex::from_parts(embedder.fingerprint(), ids, images.clone())?;
    let mut queries: Option<CombinedQueries> = None;
    for batch in captions.chunks(CAPTIONS_PER_BATCH) {
        let texts: Vec<Query> =
            batch.iter().map(|(_, caption)| Query::new(caption)).collect::<Result<_>>()?;
        let embedded = pipeline.embed(&texts, embedder, Some(&index))?;
        match &mut queries {
            None => queries = Some(embedded.vectors),
            Some(queries) => queries.append(&embedded.vectors)?,
        }
        watch(embedded.enhanced);
    }
    let queries = queries.ok_or_else(|| no_captions(&dataset.name))?;
    let image_of_caption: Vec<usize> = captions.iter().map(|(image, _)| *image).collect();
    let ranks = match pipeline.hubness_of_scores() {
        None => GroundTruthRanks::compute(images, &queries, &image_of_caption)?,
        Some(hubness) => {
            let offsets = ScoreOffsets {
                images: hubness.image_offsets(images)?,
                captions: hubness.text_offsets(&queries)?,
            };
            GroundTruthRanks::compute_with_offsets(images, &queries, &image_of_caption, &offsets)?
        }
    };
    let report = RetrievalReport {
        image_retrieval: RankingMetrics::from_ranks(&ranks.text_to_image, recall_at)?,
        text_retrieval: Some(RankingMetrics::from_ranks(&ranks.image_to_text, recall_at)?),
        n_images: images.rows(),
        n_texts: captions.len(),
        model: embedder.name().to_owned(),
        enhancer: pipeline.name(),
        seconds: start.elapsed().as_secs_f64(),
    };
    Ok(Evaluation { report, ranks })
}

fn no_captions(dataset: &str) -> Error {
    Error::Argument {
        operation: "evaluate",
        expected: "at least one caption".to_owned(),
        found: format!("none in {dataset}"),
    }
}
