//! Opens `composer`, and what generates its candidates.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::EnhancerContext;
use super::settings::Settings;
use crate::english::{Vocabulary, vocabulary};
use crate::enhancer::composer::keywords::{self, Links};
use crate::enhancer::composer::preferences::{PREFERENCES_FILE, Preferences};
use crate::enhancer::composer::wording::{self, Wording};
use crate::enhancer::composer::{
    Composer, ComposerSettings, Generator, GeneratorSettings, Language, Materials,
};
use crate::enhancer::entity_finder::EntitySettings;
use crate::enhancer::mix::Mix;
use crate::error::Result;
use crate::knowledge::knowledge_base;
use crate::model_hub::bundled;

/// Settings of `composer`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComposerSpec {
    /// The words that captions use, `word<TAB>count` a line; default: the bundled ones.
    pub vocabulary: Option<PathBuf>,
    /// Words that are spelled right, one a line, sorted; default: the bundled ones.
    pub words: Option<PathBuf>,
    /// How well the retriever knows words, `word<TAB>count` a line; default: `familiarity.tsv` beside the retriever, else
    /// the vocabulary.
    pub familiarity: Option<PathBuf>,
    /// Which meanings of words the retriever likes; default: `preferences.tsv` beside the retriever, else none.
    pub preferences: Option<PathBuf>,
    /// What captions put between two words; default: the bundled links.
    pub links: Option<PathBuf>,
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
    let share = spec.choice.reworded_share;
    if !(0.0..=1.0).contains(&share) {
        return Err(settings.refuse(&format!("expected a reworded_share of 0 to 1, found {share}")));
    }
    let generator = open_candidates(settings, &spec, context)?;
    let language = open_language(settings, &spec, context)?;
    Ok(Composer::new(generator, language, spec.choice, spec.mix))
}

/// What is known of words for the retriever that is asked. Without files of its own the captions' vocabulary stands for
/// what it knows, and the knowledge base's order for what it likes.
fn open_language(settings: &Settings, spec: &ComposerSpec, context: &EnhancerContext) -> Result<Language> {
    let beside = |name: &str| {
        let directory = context.embedder.as_ref().and_then(|embedder| embedder.directory().map(PathBuf::from));
        directory.map(|directory| directory.join(name)).filter(|file| file.is_file())
    };
    let own = |path: &Option<PathBuf>, name: &str| path.as_ref().map(|path| settings.path(path)).or_else(|| beside(name));
    let evd = bundled::model(knowledge_base::BUNDLED)?;
    let familiarity = own(&spec.familiarity, wording::FAMILIARITY_FILE)
        .or_else(|| spec.vocabulary.as_ref().map(|path| settings.path(path)))
        .unwrap_or_else(|| evd.join(vocabulary::BUNDLED_FILE));
    let familiarity = Arc::new(Vocabulary::open(&familiarity)?);
    let preferences = own(&spec.preferences, PREFERENCES_FILE);
    let preferences = preferences.map(|path| Preferences::open(&path)).transpose()?.unwrap_or_default();
    let bundled = Some(evd.join(keywords::BUNDLED_FILE)).filter(|file| file.is_file());
    let links = spec.links.as_ref().map(|path| settings.path(path)).or(bundled);
    let links = links.map(|path| Links::open(&path)).transpose()?.unwrap_or_default();
    let wording = Wording::new(familiarity, preferences, spec.choice.unfamiliar_up_to);
    Ok(Language { wording: Some(wording), links })
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
