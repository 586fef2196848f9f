//! Opens pipelines by what `--enhancer` says: a name, or a TOML file.
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
//! `[spelling]` corrects queries before the whole sees them, and `[exclusion]` takes away what they do not want.
//! `[neighbours]` and `[hubness]`, each with a file of
//! reference `pairs`, move embeddings towards known captions' pictures and lower hubs; without any `[[enhancer]]`, for
//! the query as it is. `[fit]` estimates whether hits are what was asked for. Paths are relative to the file. What is left out has the default, and what is unknown is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relens_models::regular_file::{self, FileKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Pipeline;
use super::fit::{Fit, FitConfig};
use super::hubness::{Hubness, HubnessConfig};
use crate::embed::TextEmbedder;
use crate::embed::memory::RememberingEmbedder;
use crate::embed::reference_pairs::ReferencePairs;
use crate::english::{Vocabulary, vocabulary};
use crate::enhancer::baselines::retrieval_augmented::{Neighbours, NeighboursConfig};
use crate::enhancer::ensemble::{Ensemble, Member};
use crate::enhancer::exclusion::{Exclusion, ExclusionConfig};
use crate::enhancer::open::{self, EnhancerContext, EnhancerTable};
use crate::enhancer::spelling::{self, Spelling};
use crate::enhancer::{Combination, Identity, QueryEnhancer};
use crate::error::{Error, Result};
use crate::knowledge::knowledge_base;
use crate::model_hub::bundled;

/// The retriever's own pipeline, from [`DEFAULT_FILE`] in its directory; `identity` where there is none.
pub const DEFAULT: &str = "default";

/// The file beside a retriever that says how its queries are best enhanced.
pub const DEFAULT_FILE: &str = "enhancer.toml";

/// The combination that comes with relens, its weights fitted on pictures kept aside: `evd.toml` beside the bundled
/// knowledge base.
pub const FITTED: &str = "evd";

/// Texts whose embeddings the members of an ensemble share.
const SHARED_TEXTS: usize = 4096;

/// What a TOML file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// How the texts of several enhancers make one score; one alone keeps its own way.
    #[serde(default = "mean_embedding")]
    combine: Combination,
    /// Corrects queries before anything else; an empty table is enough.
    spelling: Option<toml::Table>,
    /// Takes away what queries say that they do not want.
    exclusion: Option<ExclusionConfig>,
    /// Moves every text's embedding towards what similar captions show.
    neighbours: Option<WithPairs<NeighboursConfig>>,
    /// Lowers hubs.
    hubness: Option<WithPairs<HubnessConfig>>,
    /// Estimates whether hits are what was asked for.
    fit: Option<WithPairs<FitConfig>>,
    /// The name that `hubness` once had.
    calibration: Option<toml::Table>,
    /// The enhancers, each with `name`, `weight` and its own settings.
    #[serde(default)]
    enhancer: Vec<toml::Table>,
}

/// A file of reference pairs, and settings of what works by them.
#[derive(Debug, Deserialize)]
#[serde(try_from = "toml::Table", bound = "S: DeserializeOwned")]
struct WithPairs<S> {
    pairs: PathBuf,
    config: S,
}

impl<S: DeserializeOwned> TryFrom<toml::Table> for WithPairs<S> {
    type Error = String;

    // Not by serde's `flatten`, which lets unknown settings pass.
    fn try_from(mut table: toml::Table) -> std::result::Result<Self, String> {
        let pairs = match table.remove("pairs") {
            Some(toml::Value::String(pairs)) => PathBuf::from(pairs),
            other => return Err(format!("expected `pairs`, a file of reference pairs, found {other:?}")),
        };
        let config = toml::Value::Table(table).try_into();
        Ok(Self { pairs, config: config.map_err(|error: toml::de::Error| error.message().to_owned())? })
    }
}

fn mean_embedding() -> Combination {
    Combination::MeanEmbedding
}

/// All names that can be opened.
pub fn names() -> Vec<&'static str> {
    std::iter::once(DEFAULT).chain(open::NAMES).chain([FITTED]).collect()
}

/// The same as they are told to people: those that need something say what.
pub fn told_names() -> String {
    open::listed(&names())
}

/// What is in the place of an enhancer that there once was, as an error would say it.
pub fn in_place_of(name: &str) -> Option<&'static str> {
    open::in_place_of(name)
}

/// Whether `spec` can only be a path: the directory of a rewriter.
pub fn is_directory(spec: &str) -> bool {
    spec.contains(['/', '\\']) && !spec.ends_with(".toml")
}

impl Pipeline {
    /// Opens what `spec` names: one of [`names`], a file whose name ends in `.toml`, or a rewriter's directory (a path
    /// with at least one `/`), which is used as it says itself.
    ///
    /// # Errors
    /// [`Error::UnknownEnhancer`]; [`Error::Enhancer`] naming the setting that cannot be used; those of the files that
    /// an enhancer reads.
    pub fn open(spec: &str, context: &EnhancerContext) -> Result<Self> {
        if spec.ends_with(".toml") {
            return Self::open_file(Path::new(spec), context);
        }
        if is_directory(spec) {
            let settings = toml::Table::from_iter([("directory".to_owned(), spec.into())]);
            let table = EnhancerTable { settings, ..EnhancerTable::named("rewriter") };
            return open::open(&table, context).map(Self::new);
        }
        match spec {
            FITTED => Self::open_file(&bundled::model(knowledge_base::BUNDLED)?.join("evd.toml"), context),
            DEFAULT => {
                let own = context.embedder.as_ref().and_then(|embedder| embedder.directory());
                match own.map(|directory| directory.join(DEFAULT_FILE)).filter(|file| file.is_file()) {
                    Some(file) => Self::open_file(&file, context),
                    None => Ok(Self::default()),
                }
            }
            spelling::NAME => {
                let spelling = Spelling::open(&EnhancerTable::named(spelling::NAME), context)?;
                Ok(Self { spelling: Some(spelling), ..Self::default() })
            }
            name if names().contains(&name) => {
                open::open(&EnhancerTable::named(name), context).map(Self::new)
            }
            unknown => Err(open::unknown_enhancer(unknown, &names())),
        }
    }

    fn open_file(path: &Path, context: &EnhancerContext) -> Result<Self> {
        let source = path.display().to_string();
        let config = toml::from_str(&regular_file::read_to_string(path, FileKind::Settings)?)
            .map_err(|error| refuse(&source, error.to_string()))?;
        Self::build(config, &source, path.parent().unwrap_or(Path::new("")), context)
    }

    /// Opens what stands in a table as it would stand in a file in `directory`; errors call it `source`.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_table(
        table: toml::Table,
        source: &str,
        directory: &Path,
        context: &EnhancerContext,
    ) -> Result<Self> {
        let config = toml::Value::Table(table).try_into();
        let config = config.map_err(|error: toml::de::Error| refuse(source, error.message().to_owned()))?;
        Self::build(config, source, directory, context)
    }

    fn build(
        config: PipelineConfig,
        source: &str,
        directory: &Path,
        context: &EnhancerContext,
    ) -> Result<Self> {
        if config.calibration.is_some() {
            return Err(refuse(source, "expected [hubness], found its old name [calibration]".to_owned()));
        }
        let spelling = config.spelling.map(|settings| {
            let table =
                EnhancerTable { name: spelling::NAME.to_owned(), settings, directory: directory.to_owned() };
            Spelling::open(&table, context)
        });
        let spelling = spelling.transpose()?;
        let context = EnhancerContext {
            embedder: shared_embedder(context, config.enhancer.len()),
            spelling_corrected: spelling.is_some(),
            ..context.clone()
        };
        let stands_alone = spelling.is_some()
            || config.exclusion.is_some()
            || config.neighbours.is_some()
            || config.hubness.is_some();
        let open = |table| open_member(table, source, directory, &context);
        let members: Vec<Member> = config.enhancer.into_iter().map(open).collect::<Result<_>>()?;
        let enhancer: Box<dyn QueryEnhancer> = match <[Member; 1]>::try_from(members) {
            // One enhancer alone keeps its own way of combining.
            Ok([only]) => only.enhancer,
            Err(members) if members.is_empty() && stands_alone => Box::new(Identity),
            Err(members) => Box::new(Ensemble::new(members, config.combine)?),
        };
        let mut pairs = OpenedPairs { directory, opened: BTreeMap::new() };
        let refine = match config.neighbours {
            Some(WithPairs { pairs: file, config }) => {
                Some(Arc::new(Neighbours::new(pairs.open(&file)?, config)?))
            }
            None => None,
        };
        let hubness = match config.hubness {
            Some(WithPairs { pairs: file, config }) => Some(Hubness::new(&pairs.open(&file)?, config)?),
            None => None,
        };
        let fit = match config.fit {
            Some(WithPairs { pairs: file, config }) => {
                let words = bundled::model(knowledge_base::BUNDLED)?.join(vocabulary::BUNDLED_FILE);
                Some(Fit::new(&pairs.open(&file)?, Arc::new(Vocabulary::open(&words)?), config)?)
            }
            None => None,
        };
        let exclusion = config.exclusion.map(Exclusion::new).transpose()?;
        Ok(Self { spelling, exclusion, refine, hubness, fit, ..Self::new(enhancer) })
    }
}

fn refuse(source: &str, reason: String) -> Error {
    Error::Enhancer { enhancer: source.to_owned(), reason }
}

fn open_member(
    mut settings: toml::Table,
    source: &str,
    directory: &Path,
    context: &EnhancerContext,
) -> Result<Member> {
    let name = match settings.remove("name") {
        Some(toml::Value::String(name)) => name,
        other => {
            return Err(refuse(source, format!("expected the name of each enhancer, found {other:?}")));
        }
    };
    let weight = match settings.remove("weight") {
        None => 1.0,
        Some(toml::Value::Float(weight)) => weight as f32,
        Some(toml::Value::Integer(weight)) => weight as f32,
        Some(other) => {
            return Err(refuse(source, format!("`{name}`: expected a number as weight, found {other}")));
        }
    };
    let table = EnhancerTable { name, settings, directory: directory.to_owned() };
    Ok(Member { weight, enhancer: open::open(&table, context)? })
}

/// Several enhancers look at the same words to tell their senses apart: one look serves them all.
fn shared_embedder(context: &EnhancerContext, members: usize) -> Option<Arc<dyn TextEmbedder>> {
    let embedder = context.embedder.clone()?;
    Some(match members {
        0 | 1 => embedder,
        _ => Arc::new(RememberingEmbedder::with_limit(embedder, SHARED_TEXTS)),
    })
}

/// Files of reference pairs; one that two steps name is read once.
struct OpenedPairs<'a> {
    directory: &'a Path,
    opened: BTreeMap<PathBuf, Arc<ReferencePairs>>,
}

impl OpenedPairs<'_> {
    fn open(&mut self, path: &Path) -> Result<Arc<ReferencePairs>> {
        if let Some(pairs) = self.opened.get(path) {
            return Ok(pairs.clone());
        }
        let pairs = Arc::new(ReferencePairs::open(&self.directory.join(path))?);
        self.opened.insert(path.to_owned(), pairs.clone());
        Ok(pairs)
    }
}

#[cfg(test)]
mod one_batch;
#[cfg(test)]
mod tests;
