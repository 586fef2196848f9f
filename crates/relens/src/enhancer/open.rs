//! Opens enhancers by their names, each with the settings of a table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::arithmetic::{self, Arithmetic};
use super::baselines::adapter::Adapter;
use super::baselines::concat::Concat;
use super::baselines::llm::RecordedLlm;
use super::baselines::retrieval_augmented::RetrievalAugmented;
use super::baselines::selection::Selection;
use super::baselines::wordnet::WordNetDefinitions;
use super::composer::Composer;
use super::descriptions::Descriptions;
use super::entity_finder::{EntityConfig, EntityFinder};
use super::mix::Mix;
use super::rewriter::Rewriter;
use super::{Identity, QueryEnhancer, spelling};
use crate::embed::TextEmbedder;
use crate::english::{Vocabulary, WordList, WordPairs, vocabulary, word_list, word_pairs};
use crate::error::{Error, Result};
use crate::knowledge::wordnet::{DEFAULT_DIRECTORY, WordNet};
use crate::knowledge::{Knowledge, knowledge_base};
use crate::model_hub::bundled;

/// The names of enhancers.
pub const NAMES: [&str; 12] = [
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
    arithmetic::NAME,
    spelling::NAME,
];

/// What an enhancer cannot do without, where its name alone does not open it.
const NEEDS: [(&str, &str); 4] = [
    ("wordnet", "WordNet's files"),
    ("adapter", "one that was trained for the retriever"),
    ("retrieval_augmented", "a .toml file that names its pairs"),
    ("llm", "a .toml file that names its records"),
];

/// Names as they are told to people: those that need something say what.
pub fn listed(names: &[&str]) -> String {
    let described = |name: &&str| match NEEDS.iter().find(|(known, _)| known == name) {
        Some((_, needed)) => format!("{name} (needs {needed})"),
        None => (*name).to_owned(),
    };
    names.iter().map(described).collect::<Vec<_>>().join(", ")
}

/// What enhancers are opened with.
#[derive(Clone, Default)]
pub struct EnhancerContext {
    /// relens's home directory, whose knowledge base is used if it has one; else the bundled one.
    pub home: Option<PathBuf>,
    /// The retriever's text side, which tells senses apart; without it the first sense is taken.
    pub embedder: Option<Arc<dyn TextEmbedder>>,
    /// Whether queries come with their spelling corrected, so that no enhancer needs to do it once more.
    pub spelling_corrected: bool,
    /// Whether nothing of a query may be kept on disk.
    pub forgetful: bool,
}

/// One enhancer as it stands in a file: its name, its settings, and the directory that paths are relative to.
#[derive(Debug, Clone, Default)]
pub struct EnhancerTable {
    /// One of [`NAMES`].
    pub name: String,
    /// The settings; what is left out has the default.
    pub settings: toml::Table,
    /// Where the file lies.
    pub directory: PathBuf,
}

/// Settings of `identity` and `arithmetic`: none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoConfig {}

/// Opens an enhancer.
///
/// # Errors
/// [`Error::UnknownEnhancer`]; [`Error::Enhancer`] naming the setting that cannot be used; those of the files that an
/// enhancer reads.
pub fn open(table: &EnhancerTable, context: &EnhancerContext) -> Result<Box<dyn QueryEnhancer>> {
    Ok(match table.name.as_str() {
        "identity" => table.parse().map(|NoConfig {}| Box::new(Identity))?,
        arithmetic::NAME => table.parse().map(|NoConfig {}| Box::new(Arithmetic))?,
        "descriptions" => Box::new(Descriptions::open(table, context)?),
        "concat" => Box::new(Concat::open(table, context)?),
        "wordnet" => Box::new(WordNetDefinitions::open(table, context)?),
        "adapter" => Box::new(Adapter::open(table, context)?),
        "selection" => Box::new(Selection::open(table, context)?),
        "retrieval_augmented" => Box::new(RetrievalAugmented::open(table)?),
        "llm" => Box::new(RecordedLlm::open_table(table)?),
        "composer" => Box::new(Composer::open(table, context)?),
        "rewriter" => Box::new(Rewriter::open_table(table, context)?),
        spelling::NAME => {
            return Err(
                table.refuse("it comes before all enhancers: write [spelling] in place of an [[enhancer]]")
            );
        }
        unknown => return Err(unknown_enhancer(unknown, &NAMES)),
    })
}

/// What is in the place of an enhancer that there once was.
pub(crate) fn in_place_of(name: &str) -> Option<&'static str> {
    (name == "soft")
        .then_some("it is gone, for it learned to leave queries as they are; `rewriter` is in its place")
}

/// The error for a name that is none of `available`.
pub(crate) fn unknown_enhancer(name: &str, available: &[&str]) -> Error {
    let name = name.to_owned();
    match in_place_of(&name) {
        Some(reason) => Error::Enhancer { enhancer: name, reason: reason.to_owned() },
        None => Error::UnknownEnhancer { name, available: listed(available) },
    }
}

/// What every enhancer that tells of a query's entities can be set to, beside what only one has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EntityEnhancerConfig {
    /// The knowledge base, which says what is an entity; default: that of the home directory, else the bundled one.
    pub knowledge: Option<PathBuf>,
    /// Which entities are told of.
    pub entities: EntityConfig,
    /// How much the query itself counts.
    pub mix: Mix,
}

/// The keys of [`EntityEnhancerConfig`] in a table.
const ENTITY_KEYS: [&str; 3] = ["knowledge", "entities", "mix"];

impl EntityEnhancerConfig {
    pub(super) fn finder(&self, table: &EnhancerTable, context: &EnhancerContext) -> Result<EntityFinder> {
        table.finder(self.knowledge.as_ref(), self.entities, context)
    }
}

impl EnhancerTable {
    /// An enhancer with its default settings.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::Value::Table(self.settings.clone())
            .try_into()
            .map_err(|error: toml::de::Error| self.refuse(error.message()))
    }

    /// What enhancers of entities share, and what `Own` has beside it.
    pub(super) fn parse_with_entities<Own: DeserializeOwned>(&self) -> Result<(EntityEnhancerConfig, Own)> {
        // Not by serde's `flatten`, which lets unknown settings pass.
        let (shared, own) =
            self.settings.clone().into_iter().partition(|(key, _)| ENTITY_KEYS.contains(&key.as_str()));
        let of = |settings| Self { settings, ..self.clone() };
        let shared: EntityEnhancerConfig = of(shared).parse()?;
        shared.mix.ensure_valid(&self.name)?;
        Ok((shared, of(own).parse()?))
    }

    pub(crate) fn refuse(&self, reason: &str) -> Error {
        Error::Enhancer { enhancer: self.name.clone(), reason: reason.to_owned() }
    }

    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    pub(super) fn required(&self, path: Option<&PathBuf>, key: &str) -> Result<PathBuf> {
        let missing =
            || self.refuse(&format!("expected the setting `{key}`: open it from a .toml file that has it"));
        path.map(|path| self.path(path)).ok_or_else(missing)
    }

    pub(super) fn knowledge(
        &self,
        path: Option<&PathBuf>,
        context: &EnhancerContext,
    ) -> Result<Arc<Knowledge>> {
        let knowledge = match (path, &context.home) {
            (Some(path), _) => Knowledge::load(&self.path(path)),
            (None, Some(home)) => Knowledge::of_home(home),
            (None, None) => Knowledge::bundled(),
        };
        knowledge.map(Arc::new)
    }

    /// The words that captions use, and the names of `entities`.
    pub(super) fn vocabulary(&self, path: Option<&PathBuf>, entities: &Knowledge) -> Result<Vocabulary> {
        let words = match path {
            Some(path) => self.path(path),
            None => bundled::model(knowledge_base::BUNDLED)?.join(vocabulary::BUNDLED_FILE),
        };
        let mut vocabulary = Vocabulary::open(&words)?;
        let names = entities
            .entities()
            .iter()
            .flat_map(|entity| std::iter::once(&entity.name).chain(&entity.aliases));
        vocabulary.include(names.map(String::as_str));
        Ok(vocabulary)
    }

    /// Words that are spelled right.
    pub(super) fn word_list(&self, path: Option<&PathBuf>) -> Result<WordList> {
        WordList::open(&match path {
            Some(path) => self.path(path),
            None => bundled::model(knowledge_base::BUNDLED)?.join(word_list::BUNDLED_FILE),
        })
    }

    /// What captions put beside words; none beside a vocabulary of the user's own, unless pairs are named, too.
    pub(super) fn word_pairs(
        &self,
        path: Option<&PathBuf>,
        vocabulary: Option<&PathBuf>,
    ) -> Result<WordPairs> {
        let bundled =
            || Ok::<_, Error>(bundled::model(knowledge_base::BUNDLED)?.join(word_pairs::BUNDLED_FILE));
        match (path, vocabulary) {
            (Some(path), _) => WordPairs::open(&self.path(path)),
            (None, Some(_)) => Ok(WordPairs::default()),
            (None, None) => match Some(bundled()?).filter(|file| file.is_file()) {
                Some(file) => WordPairs::open(&file),
                None => Ok(WordPairs::default()),
            },
        }
    }

    pub(super) fn finder(
        &self,
        path: Option<&PathBuf>,
        entities: EntityConfig,
        context: &EnhancerContext,
    ) -> Result<EntityFinder> {
        Ok(EntityFinder::new(self.knowledge(path, context)?, context.embedder.clone(), entities))
    }

    pub(super) fn wordnet(&self, directory: Option<&PathBuf>) -> Result<WordNet> {
        let directory =
            directory.map_or_else(|| PathBuf::from(DEFAULT_DIRECTORY), |directory| self.path(directory));
        if !directory.join("data.noun").is_file() {
            let directory = directory.display();
            return Err(self.refuse(&format!(
                "expected the dictionary files of WordNet 3.0 (index.noun, data.noun, noun.exc) in {directory}, found \
                 none; Debian's package wordnet-base has them, and the setting `directory` names another place"
            )));
        }
        WordNet::open(&directory)
    }
}
