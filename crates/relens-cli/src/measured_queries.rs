//! What a measurement asks: the captions, queries in their place, or captions made harder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use relens::dataset::{AskedQueries, Dataset};

use crate::perturbed_captions::{PerturbationEffect, PerturbedCaptions};
use crate::progress;
use relens::counted::{by_number, counted};

/// The arguments that name queries to measure in place of the captions.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AskedArguments {
    /// Measure queries that people ask in place of the captions; all pictures of the split compete.
    ///
    /// JSON Lines, `{"image": PATH, "query": TEXT, "kind": NAME}` a line, measured by kind. A picture is named by its
    /// path or file name in the annotations, or by its number there (`imgid`).
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,

    /// The fields of --queries that hold a query each, separated by commas; each is measured as a kind.
    #[arg(
        long,
        value_name = "FIELD,…",
        value_delimiter = ',',
        requires = "queries",
        conflicts_with = "perturb"
    )]
    query_field: Vec<String>,
}

impl AskedArguments {
    /// The file that the queries are read from.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.queries.as_deref()
    }

    /// What was named; `None` for the captions.
    pub(crate) fn source(self) -> Option<AskedSource> {
        let fields = self.query_field;
        self.queries.map(|path| AskedSource { path, fields })
    }
}

/// A file of queries, and its fields that hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AskedSource {
    pub(crate) path: PathBuf,
    /// None: `query`, by the kind that each line names.
    pub(crate) fields: Vec<String>,
}

/// One thing to measure.
#[derive(Debug)]
pub(crate) struct MeasuredQueries {
    /// What the queries are called; none for the captions as they are.
    pub(crate) kind: Option<String>,
    /// The pictures, with the queries in the captions' place.
    pub(crate) dataset: Dataset,
    /// Whether pictures are measured as queries, too. Where only some have a query, too few texts compete for that.
    pub(crate) image_to_text: bool,
    /// What was done to the captions, if anything.
    pub(crate) effect: Option<PerturbationEffect>,
}

impl MeasuredQueries {
    /// The captions of a dataset.
    pub(crate) fn captions(dataset: Dataset) -> Self {
        Self { kind: None, dataset, image_to_text: true, effect: None }
    }

    /// Captions made harder.
    pub(crate) fn perturbed(captions: PerturbedCaptions) -> Self {
        let PerturbedCaptions { dataset, effect } = captions;
        let PerturbationEffect { perturbation, changed } = &effect;
        let (captions, were) =
            (counted(dataset.caption_count(), "caption"), by_number(changed, "was", "were"));
        progress::note(&format!("{perturbation}: {changed} of {captions} {were} changed"));
        Self { effect: Some(effect), ..Self::captions(dataset) }
    }

    /// What is to be measured on the pictures of `dataset`: one entry for each kind of query in `source`, or the captions.
    pub(crate) fn of(source: Option<&AskedSource>, dataset: &Dataset) -> Result<Vec<Self>> {
        let Some(AskedSource { path, fields }) = source else {
            return Ok(vec![Self::captions(dataset.clone())]);
        };
        let asked = AskedQueries::open(path, dataset, fields)?;
        if asked.of_other_images > 0 {
            let (lines, path) = (counted(asked.of_other_images, "line"), path.display());
            let were = by_number(&asked.of_other_images, "was", "were");
            progress::note(&format!("{path}: {lines} about pictures outside the split {were} left out"));
        }
        let kinds = asked.kinds.into_iter();
        Ok(kinds
            .map(|(kind, dataset)| Self {
                kind: Some(kind),
                image_to_text: dataset.images.iter().all(|image| !image.captions.is_empty()),
                dataset,
                effect: None,
            })
            .collect())
    }
}
