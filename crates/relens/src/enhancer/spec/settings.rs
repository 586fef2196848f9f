//! The settings of one enhancer, and the files that several enhancers read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::EnhancerContext;
use crate::english::{Vocabulary, WordList};
use crate::english::{vocabulary, word_list};
use crate::enhancer::entity_finder::{EntityFinder, EntitySettings};
use crate::error::{Error, Result};
use crate::knowledge::wordnet::{DEFAULT_DIRECTORY, WordNet};
use crate::knowledge::{Knowledge, knowledge_base};
use crate::model_hub::bundled;

/// The settings of one enhancer as they stand in the file.
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) table: toml::Table,
    pub(super) directory: PathBuf,
}

impl Settings {
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::Value::Table(self.table.clone())
            .try_into()
            .map_err(|error: toml::de::Error| self.refuse(error.message()))
    }

    /// The settings of these keys, and all others.
    pub(super) fn split(&self, keys: &[&str]) -> (Self, Self) {
        let (chosen, rest) =
            self.table.clone().into_iter().partition(|(key, _)| keys.contains(&key.as_str()));
        let with = |table| Self { name: self.name.clone(), table, directory: self.directory.clone() };
        (with(chosen), with(rest))
    }

    pub(super) fn refuse(&self, reason: &str) -> Error {
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

    /// The words that captions use, and the names of `knowledge`.
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

    pub(super) fn finder(
        &self,
        path: Option<&PathBuf>,
        entities: EntitySettings,
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
