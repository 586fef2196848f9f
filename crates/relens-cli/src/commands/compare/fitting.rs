//! Fits the share of the original query on pictures that are kept aside.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use relens::dataset::Dataset;
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::embed::memory::RememberingEmbedder;
use relens::embed::retriever::Retriever;
use relens::enhancer::EnhancedQuery;
use relens::evaluation::{Evaluation, evaluate};
use relens::ranking::Pipeline;

use super::RECALL_AT;
use super::config::{FitWith, Row, ShareFitting};
use crate::image_embedding::embed_dataset_once;

/// A split as a retriever sees it, the measured one or the one kept aside.
pub(super) struct Embedded {
    pub(super) dataset: Dataset,
    images: Embeddings,
    pub(super) embedder: Arc<RememberingEmbedder>,
}

/// What shares are fitted on.
pub(super) struct Aside<'a> {
    fit: &'a ShareFitting,
    held_out: Option<Embedded>,
    measured: Option<Embedded>,
}

impl Embedded {
    /// Embeds the pictures of a split, unless a run before did. Of texts it remembers about `remembered`.
    pub(super) fn new(dataset: Dataset, retriever: &Arc<Retriever>, remembered: usize) -> Result<Self> {
        dataset.ensure_images_exist()?;
        let images = embed_dataset_once(&dataset, retriever)?;
        let embedder: Arc<dyn TextEmbedder> = retriever.clone();
        Ok(Self {
            dataset,
            images,
            embedder: Arc::new(RememberingEmbedder::with_limit(embedder, remembered)),
        })
    }

    /// Measures a pipeline on queries for these pictures, which stand in the captions' place in `queries`.
    pub(super) fn run(
        &self,
        queries: &Dataset,
        pipeline: &Pipeline,
        watch: &mut dyn FnMut(Vec<EnhancedQuery>),
    ) -> Result<Evaluation> {
        Ok(evaluate(queries, &self.images, self.embedder.as_ref(), pipeline, &RECALL_AT, watch)?)
    }
}

impl<'a> Aside<'a> {
    /// Embeds the part that is kept aside with the retrievers that rows ask for.
    pub(super) fn new(
        fit: &'a ShareFitting,
        rows: &[Row],
        dataset: &Dataset,
        measured: &Arc<Retriever>,
    ) -> Result<Self> {
        let asked = |with: FitWith| rows.iter().any(|row| row.fit == Some(with));
        let held_out = match (asked(FitWith::HeldOutRetriever), &fit.model) {
            (false, _) => None,
            (true, None) => bail!("rows ask for `held_out_retriever`, but `fit.model` names none"),
            (true, Some(model)) => Some(Embedded::new(
                dataset.split(&fit.split)?,
                &Arc::new(Retriever::load(model)?),
                usize::MAX,
            )?),
        };
        let measured = asked(FitWith::MeasuredRetriever)
            .then(|| Embedded::new(dataset.split(&fit.split)?, measured, usize::MAX))
            .transpose()?;
        Ok(Self { fit, held_out, measured })
    }

    pub(super) fn fitted(&self, with: FitWith, pipeline: &mut Pipeline) -> Result<f32> {
        let set = match with {
            FitWith::HeldOutRetriever => self.held_out.as_ref(),
            FitWith::MeasuredRetriever => self.measured.as_ref(),
        };
        let set = set.context("the part that is kept aside was not embedded")?;
        fitted(&self.fit.shares, |share| {
            pipeline.original_share = Some(share);
            set.run(&set.dataset, pipeline, &mut |_| {})
        })
    }
}

/// The share with the best mean reciprocal rank of pictures, the largest of equal ones: it changes least.
fn fitted(shares: &[f32], mut run: impl FnMut(f32) -> Result<Evaluation>) -> Result<f32> {
    let mut best: Option<(f64, f32)> = None;
    for &share in shares {
        let found = run(share)?.report.image_retrieval.mean_reciprocal_rank;
        if best.is_none_or(|(highest, at)| found > highest || found == highest && share > at) {
            best = Some((found, share));
        }
    }
    best.map(|(_, share)| share).context("`fit.shares` names no share to try")
}
