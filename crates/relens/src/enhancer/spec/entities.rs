//! Opens the enhancers that tell of a query's entities: `descriptions`, `concat`, `wordnet`, `adapter`, `selection`.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::EnhancerContext;
use super::settings::Settings;
use crate::enhancer::QueryEnhancer;
use crate::enhancer::baselines::adapter;
use crate::enhancer::baselines::adapter::{Adapter, AdapterWeights};
use crate::enhancer::baselines::concat::Concat;
use crate::enhancer::baselines::selection;
use crate::enhancer::baselines::selection::{DescriptionValues, Selection, SelectionSettings};
use crate::enhancer::baselines::wordnet::WordNetDefinitions;
use crate::enhancer::descriptions::{Descriptions, Template};
use crate::enhancer::entity_finder::{EntityFinder, EntitySettings};
use crate::enhancer::mix::Mix;
use crate::error::Result;

/// What all of them can be set to, beside what only one has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EntitySpec {
    /// The knowledge base, which says what is an entity; default: that of the home directory, else the bundled one.
    pub knowledge: Option<PathBuf>,
    /// Which entities are told of.
    pub entities: EntitySettings,
    /// How much the query itself counts.
    pub mix: Mix,
}

/// The keys of [`EntitySpec`] in a table.
const SHARED_KEYS: [&str; 3] = ["knowledge", "entities", "mix"];

/// Settings that only one of them has.
trait OwnSpec: DeserializeOwned {
    /// The entities that it wants to see, given those that the settings name.
    fn limits(&self, entities: EntitySettings) -> EntitySettings {
        entities
    }

    fn open(
        self,
        finder: EntityFinder,
        mix: Mix,
        settings: &Settings,
        context: &EnhancerContext,
    ) -> Result<Box<dyn QueryEnhancer>>;
}

/// Settings of `descriptions` beside [`EntitySpec`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DescriptionsSpec {
    /// What a text holds beside a description.
    pub template: Template,
}

/// Settings of `concat` beside [`EntitySpec`]: none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConcatSpec {}

/// Settings of `wordnet` beside [`EntitySpec`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WordNetSpec {
    /// Where the dictionary files are; default: where Debian puts them.
    pub directory: Option<PathBuf>,
}

/// Settings of `adapter` beside [`EntitySpec`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdapterSpec {
    /// The trained weights; default: the bundled ones, if they were trained for the retriever in use.
    pub weights: Option<PathBuf>,
    /// What a text holds beside a description.
    pub template: Template,
}

/// Settings of `selection` beside [`EntitySpec`]. All descriptions are chosen from, whatever `max_descriptions` says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionSpec {
    /// Learned values of descriptions; default: the bundled ones.
    pub values: Option<PathBuf>,
    /// What a text holds beside a description.
    pub template: Template,
    /// How descriptions are chosen.
    pub choice: SelectionSettings,
}

impl OwnSpec for DescriptionsSpec {
    fn open(
        self,
        finder: EntityFinder,
        mix: Mix,
        _: &Settings,
        _: &EnhancerContext,
    ) -> Result<Box<dyn QueryEnhancer>> {
        Ok(Box::new(Descriptions::new(finder, self.template, mix)))
    }
}

impl OwnSpec for ConcatSpec {
    fn open(
        self,
        finder: EntityFinder,
        mix: Mix,
        _: &Settings,
        _: &EnhancerContext,
    ) -> Result<Box<dyn QueryEnhancer>> {
        Ok(Box::new(Concat::new(finder, mix)))
    }
}

impl OwnSpec for WordNetSpec {
    fn open(
        self,
        finder: EntityFinder,
        mix: Mix,
        settings: &Settings,
        _: &EnhancerContext,
    ) -> Result<Box<dyn QueryEnhancer>> {
        let wordnet = settings.wordnet(self.directory.as_ref())?;
        Ok(Box::new(WordNetDefinitions::new(finder, wordnet, mix)))
    }
}

impl OwnSpec for AdapterSpec {
    fn open(
        self,
        finder: EntityFinder,
        mix: Mix,
        settings: &Settings,
        context: &EnhancerContext,
    ) -> Result<Box<dyn QueryEnhancer>> {
        let weights = match &self.weights {
            Some(path) => AdapterWeights::open(&settings.path(path))?,
            None => adapter::bundled_weights(context.embedder.as_deref())?,
        };
        Ok(Box::new(Adapter::new(Descriptions::new(finder, self.template, mix), weights)))
    }
}

impl OwnSpec for SelectionSpec {
    fn limits(&self, entities: EntitySettings) -> EntitySettings {
        EntitySettings { max_descriptions: usize::MAX, ..entities }
    }

    fn open(
        self,
        finder: EntityFinder,
        mix: Mix,
        settings: &Settings,
        _: &EnhancerContext,
    ) -> Result<Box<dyn QueryEnhancer>> {
        let values = match &self.values {
            Some(path) => DescriptionValues::open(&settings.path(path))?,
            None => selection::bundled_values()?,
        };
        Ok(Box::new(Selection::new(finder, self.template, values, self.choice, mix)))
    }
}

/// Opens one of them; `None` for another name.
pub(super) fn open(settings: &Settings, context: &EnhancerContext) -> Result<Option<Box<dyn QueryEnhancer>>> {
    let opened = match settings.name.as_str() {
        "descriptions" => open_as::<DescriptionsSpec>(settings, context),
        "concat" => open_as::<ConcatSpec>(settings, context),
        "wordnet" => open_as::<WordNetSpec>(settings, context),
        "adapter" => open_as::<AdapterSpec>(settings, context),
        "selection" => open_as::<SelectionSpec>(settings, context),
        _ => return Ok(None),
    };
    opened.map(Some)
}

fn open_as<S: OwnSpec>(settings: &Settings, context: &EnhancerContext) -> Result<Box<dyn QueryEnhancer>> {
    // Not by serde's `flatten`, which lets unknown settings pass.
    let (shared, own) = settings.split(&SHARED_KEYS);
    let EntitySpec { knowledge, entities, mix } = shared.parse()?;
    let own: S = own.parse()?;
    mix.ensure_valid(&settings.name)?;
    let finder = settings.finder(knowledge.as_ref(), own.limits(entities), context)?;
    own.open(finder, mix, settings, context)
}
