//! Opens `soft`.

use std::path::PathBuf;

use serde::Deserialize;

use super::EnhancerContext;
use super::settings::Settings;
use crate::enhancer::soft::{SoftRewriter, SoftRewriterWeights};
use crate::error::Result;

/// Settings of `soft`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SoftSpec {
    /// The network's directory, as the stage `soft` wrote it.
    pub directory: Option<PathBuf>,
}

pub(super) fn open(settings: &Settings, context: &EnhancerContext) -> Result<SoftRewriter> {
    let spec: SoftSpec = settings.parse()?;
    let directory = settings.required(spec.directory.as_ref(), "directory")?;
    Ok(SoftRewriter::new(SoftRewriterWeights::open(&directory, context.embedder.as_deref())?))
}
