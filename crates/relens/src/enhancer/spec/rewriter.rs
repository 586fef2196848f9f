//! Opens `rewriter`.

use std::path::PathBuf;

use serde::Deserialize;

use super::EnhancerContext;
use super::settings::Settings;
use crate::enhancer::mix::Mix;
use crate::enhancer::rewriter::{self, DecodingSettings, Rewriter, RewriterOptions};
use crate::error::Result;
use crate::model_hub::bundled;

/// Settings of `rewriter`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewriterSpec {
    /// The rewriter's directory; default: the bundled one.
    pub directory: Option<PathBuf>,
    /// How much the query itself counts; default: as the directory says.
    pub mix: Option<Mix>,
    /// How rewrites are chosen, and how many; default: as the directory says.
    pub decoding: Option<DecodingSettings>,
    /// Use every rewrite, whatever the directory's gate predicts.
    pub without_gate: bool,
    /// Where rewrites are remembered; default: in the home directory.
    pub cache: Option<PathBuf>,
    /// The knowledge base, for rewriters whose prompts hold descriptions.
    pub knowledge: Option<PathBuf>,
}

pub(super) fn open(settings: &Settings, context: &EnhancerContext) -> Result<Rewriter> {
    let spec: RewriterSpec = settings.parse()?;
    let directory = match &spec.directory {
        Some(directory) => settings.path(directory),
        None => bundled::model(rewriter::BUNDLED)?,
    };
    let own = spec.cache.as_ref().map(|path| settings.path(path));
    let options = RewriterOptions {
        mix: spec.mix,
        decoding: spec.decoding,
        without_gate: spec.without_gate,
        cache: own.or_else(|| context.home.as_ref().map(|home| home.join(rewriter::CACHE_FILE))),
        embedder: context.embedder.clone(),
        gallery: context.gallery.clone(),
    };
    Rewriter::open(&directory, options, || settings.knowledge(spec.knowledge.as_ref(), context))
}
