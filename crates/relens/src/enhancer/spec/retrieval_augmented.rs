//! Opens `retrieval_augmented`.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::settings::Settings;
use crate::embed::reference_pairs::ReferencePairs;
use crate::enhancer::baselines::retrieval_augmented::{NeighbourSettings, RetrievalAugmented};
use crate::error::Result;

/// Settings of `retrieval_augmented`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrievalAugmentedSpec {
    /// The embedded pairs; required.
    pub pairs: Option<PathBuf>,
    /// How neighbours count.
    pub neighbours: NeighbourSettings,
}

pub(super) fn open(settings: &Settings) -> Result<RetrievalAugmented> {
    let spec: RetrievalAugmentedSpec = settings.parse()?;
    let pairs = ReferencePairs::open(&settings.required(spec.pairs.as_ref(), "pairs")?)?;
    RetrievalAugmented::new(Arc::new(pairs), spec.neighbours)
}
