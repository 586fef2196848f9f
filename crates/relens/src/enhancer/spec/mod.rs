//! Opens enhancers by what `--enhancer` says: a name, or a TOML file of one or several.
//!
//! ```toml
//! # The query itself counts 0.6, its described entities 0.4.
//! combine = "mean_embedding"
//!
//! [[enhancer]]
//! name = "identity"
//! weight = 0.6
//!
//! [[enhancer]]
//! name = "descriptions"
//! weight = 0.4
//! entities = { max_entities = 2, max_descriptions = 2 }
//! mix = { original_share = 0.0 }
//! ```
//!
//! `[spelling]` corrects queries before the whole sees them. `[neighbours]` and `[calibration]`, each with a file of
//! reference `pairs`, add what [`super::referenced`] describes to the whole; without any `[[enhancer]]`, to the query as it
//! is. Paths in it are relative to the file. Every name has its settings, see the `…Spec` of this module; what is left
//! out has the default, and what is unknown is refused.

mod composer;
mod ensemble;
mod entities;
mod llm;
#[cfg(test)]
mod one_batch;
mod retrieval_augmented;
mod rewriter;
mod settings;
mod soft;
mod spelling;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

pub use composer::{ComposerSpec, open_generator};
pub use entities::{AdapterSpec, ConcatSpec, DescriptionsSpec, EntitySpec, SelectionSpec, WordNetSpec};
pub use llm::LlmSpec;
pub use retrieval_augmented::RetrievalAugmentedSpec;
pub use rewriter::RewriterSpec;
pub use soft::SoftSpec;
pub use spelling::SpellingSpec;

use self::settings::Settings;
use super::arithmetic::{self, Arithmetic};
use super::rewriter::Gallery;
use super::spelling::NAME as SPELLING;
use super::{Identity, QueryEnhancer};
use crate::embed::TextEmbedder;
use crate::error::{Error, Result};
use crate::knowledge::knowledge_base;
use crate::model_hub::bundled;

/// The combination that comes with relens, its weights fitted on pictures kept aside: `evd.toml` beside the bundled
/// knowledge base.
pub const FITTED: &str = "evd";

/// The retriever's own enhancer, from [`DEFAULT_FILE`] in its directory; `identity` where there is none.
pub const DEFAULT: &str = "default";

/// The file beside a retriever that says how its queries are best enhanced.
pub const DEFAULT_FILE: &str = "enhancer.toml";

/// The names that can be opened.
pub const NAMES: [&str; 15] = [
    DEFAULT,
    "identity",
    "wordnet",
    "descriptions",
    "concat",
    "adapter",
    "selection",
    "retrieval_augmented",
    "llm",
    "composer",
    "rewriter",
    "soft",
    SPELLING,
    arithmetic::NAME,
    FITTED,
];

/// What enhancers are opened with.
#[derive(Clone, Default)]
pub struct EnhancerContext {
    /// relens's home directory, whose knowledge base is used if it has one; else the bundled one.
    pub home: Option<PathBuf>,
    /// The retriever's text side, which tells senses apart; without it the first sense is taken.
    pub embedder: Option<Arc<dyn TextEmbedder>>,
    /// The pictures that are searched, at which a rewriter's gate looks. May be filled after the enhancer was opened;
    /// as long as there are none, the gate judges by the texts alone.
    pub gallery: Gallery,
}

/// Whether `spec` can only be a path: the directory of a rewriter.
pub fn is_directory(spec: &str) -> bool {
    spec.contains(['/', '\\']) && !spec.ends_with(".toml")
}

/// Opens what `spec` names: one of [`NAMES`], a file whose name ends in `.toml`, or a rewriter's directory (a path with
/// at least one `/`), which is used as it says itself.
///
/// # Errors
/// [`Error::UnknownEnhancer`]; [`Error::Enhancer`] naming the setting that cannot be used; those of the files that an
/// enhancer reads.
pub fn open(spec: &str, context: &EnhancerContext) -> Result<Box<dyn QueryEnhancer>> {
    if spec == FITTED {
        return ensemble::open_file(&bundled::model(knowledge_base::BUNDLED)?.join("evd.toml"), context);
    }
    if spec.ends_with(".toml") {
        return ensemble::open_file(Path::new(spec), context);
    }
    if is_directory(spec) {
        let table = toml::Table::from_iter([("directory".to_owned(), spec.into())]);
        let settings = Settings { name: "rewriter".to_owned(), table, directory: PathBuf::new() };
        return open_member(&settings, context);
    }
    let own = context.embedder.as_ref().and_then(|embedder| embedder.directory());
    match own.map(|directory| directory.join(DEFAULT_FILE)).filter(|file| file.is_file()) {
        Some(file) if spec == DEFAULT => return ensemble::open_file(&file, context),
        None if spec == DEFAULT => return Ok(Box::new(Identity)),
        _ => {}
    }
    open_member(
        &Settings { name: spec.to_owned(), table: toml::Table::new(), directory: PathBuf::new() },
        context,
    )
}

/// Settings of `identity` and `arithmetic`: none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

fn open_member(settings: &Settings, context: &EnhancerContext) -> Result<Box<dyn QueryEnhancer>> {
    if let Some(opened) = entities::open(settings, context)? {
        return Ok(opened);
    }
    Ok(match settings.name.as_str() {
        "identity" => settings.parse().map(|NoSettings {}| Box::new(Identity))?,
        arithmetic::NAME => settings.parse().map(|NoSettings {}| Box::new(Arithmetic))?,
        "retrieval_augmented" => Box::new(retrieval_augmented::open(settings)?),
        "llm" => Box::new(llm::open(settings)?),
        "composer" => Box::new(composer::open(settings, context)?),
        "rewriter" => Box::new(rewriter::open(settings, context)?),
        "soft" => Box::new(soft::open(settings, context)?),
        SPELLING => Box::new(spelling::open(settings, context, Box::new(Identity))?),
        unknown => {
            return Err(Error::UnknownEnhancer { name: unknown.to_owned(), available: NAMES.join(", ") });
        }
    })
}
