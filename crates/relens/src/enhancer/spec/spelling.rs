//! Opens `spelling`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::EnhancerContext;
use super::settings::Settings;
use crate::enhancer::QueryEnhancer;
use crate::enhancer::spelling::{Spelling, words_of_tokenizer};
use crate::error::Result;

/// Settings of `spelling`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpellingSpec {
    /// The words that captions use, `word<TAB>count` a line; default: the bundled ones.
    pub vocabulary: Option<PathBuf>,
    /// The knowledge base, whose names are right.
    pub knowledge: Option<PathBuf>,
}

/// Corrections before `enhancer`. The retriever's tokenizer, if it is known, tells what words there are besides.
pub(super) fn open(
    settings: &Settings,
    context: &EnhancerContext,
    enhancer: Box<dyn QueryEnhancer>,
) -> Result<Spelling> {
    let spec: SpellingSpec = settings.parse()?;
    let knowledge = settings.knowledge(spec.knowledge.as_ref(), context)?;
    let vocabulary = settings.vocabulary(spec.vocabulary.as_ref(), &knowledge)?;
    let words = match context.embedder.as_ref().and_then(|embedder| embedder.directory()) {
        Some(directory) => words_of_tokenizer(directory)?,
        None => HashSet::new(),
    };
    Ok(Spelling::new(Arc::new(vocabulary), knowledge, words, enhancer))
}
