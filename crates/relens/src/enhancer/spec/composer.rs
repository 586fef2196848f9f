//! Opens `composer`, and what generates its candidates.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::EnhancerContext;
use super::settings::Settings;
use crate::enhancer::composer::{Composer, ComposerSettings, Generator, GeneratorSettings, Materials};
use crate::enhancer::entity_finder::EntitySettings;
use crate::enhancer::mix::Mix;
use crate::error::Result;

/// Settings of `composer`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComposerSpec {
    /// The words that captions use, `word<TAB>count` a line; default: the bundled ones.
    pub vocabulary: Option<PathBuf>,
    /// Words that are spelled right, one a line, sorted; default: the bundled ones.
    pub words: Option<PathBuf>,
    /// Where WordNet is, for other names of entities; default: without it.
    pub wordnet: Option<PathBuf>,
    /// The knowledge base.
    pub knowledge: Option<PathBuf>,
    /// Which entities are changed.
    pub entities: EntitySettings,
    /// How much is generated.
    pub candidates: GeneratorSettings,
    /// How candidates are chosen.
    pub choice: ComposerSettings,
    /// How much the query itself counts.
    pub mix: Mix,
}

pub(super) fn open(settings: &Settings, context: &EnhancerContext) -> Result<Composer> {
    let spec: ComposerSpec = settings.parse()?;
    spec.mix.ensure_valid(&settings.name)?;
    Ok(Composer::new(open_candidates(settings, &spec, context)?, spec.choice, spec.mix))
}

/// Opens what generates the composer's candidates, for those who choose among them in their own way.
///
/// # Errors
/// Those of the files that it reads.
pub fn open_generator(spec: &ComposerSpec, context: &EnhancerContext) -> Result<Generator> {
    let settings =
        Settings { name: "composer".to_owned(), table: toml::Table::new(), directory: PathBuf::new() };
    open_candidates(&settings, spec, context)
}

fn open_candidates(settings: &Settings, spec: &ComposerSpec, context: &EnhancerContext) -> Result<Generator> {
    let finder = settings.finder(spec.knowledge.as_ref(), spec.entities, context)?;
    let vocabulary = Arc::new(settings.vocabulary(spec.vocabulary.as_ref(), finder.knowledge())?);
    let materials = Materials {
        finder,
        vocabulary,
        words: Arc::new(settings.word_list(spec.words.as_ref())?),
        wordnet: spec
            .wordnet
            .as_ref()
            .map(|place| settings.wordnet(Some(place)).map(Arc::new))
            .transpose()?,
    };
    Ok(Generator::new(materials, spec.candidates))
}
