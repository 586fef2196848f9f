//! Opens `spelling`.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::EnhancerContext;
use super::settings::Settings;
use crate::enhancer::QueryEnhancer;
use crate::enhancer::spelling::Spelling;
use crate::error::Result;

/// Settings of `spelling`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpellingSpec {
    /// The words that captions use, `word<TAB>count` a line; default: the bundled ones.
    pub vocabulary: Option<PathBuf>,
    /// Words that are spelled right, one a line, sorted; default: the bundled ones.
    pub words: Option<PathBuf>,
    /// The knowledge base, whose names are right.
    pub knowledge: Option<PathBuf>,
}

/// Corrections before `enhancer`.
pub(super) fn open(
    settings: &Settings,
    context: &EnhancerContext,
    enhancer: Box<dyn QueryEnhancer>,
) -> Result<Spelling> {
    let spec: SpellingSpec = settings.parse()?;
    let knowledge = settings.knowledge(spec.knowledge.as_ref(), context)?;
    let vocabulary = settings.vocabulary(spec.vocabulary.as_ref(), &knowledge)?;
    let words = settings.word_list(spec.words.as_ref())?;
    Ok(Spelling::new(Arc::new(vocabulary), knowledge, Arc::new(words), enhancer))
}
