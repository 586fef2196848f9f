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
//! `[neighbours]` and `[calibration]`, each with a file of reference `pairs`, add what [`super::referenced`] describes to
//! the whole; without any `[[enhancer]]`, to the query as it is. Paths in it are relative to the file. Every name has its settings, see the `…Spec` of this module; what is left out
//! has the default, and what is unknown is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::adapter::{self, Adapter, AdapterWeights};
use super::arithmetic::{self, Arithmetic};
use super::composer::{Composer, ComposerSettings, Generator, GeneratorSettings, Materials};
use super::concat::Concat;
use super::descriptions::{Descriptions, Template};
use super::ensemble::{Ensemble, Member};
use super::entity_finder::{EntityFinder, EntitySettings};
use super::llm::RecordedLlm;
use super::mix::Mix;
use super::referenced::Referenced;
use super::retrieval_augmented::{Enrichment, NeighbourSettings, RetrievalAugmented};
use super::rewriter::{self, DecodingSettings, Gallery, Rewriter, RewriterOptions};
use super::selection::{self, DescriptionValues, Selection, SelectionSettings};
use super::wordnet::WordNetDefinitions;
use super::{Combination, Identity, QueryEnhancer};
use crate::bundled;
use crate::calibration::{CalibrationSettings, HubnessCalibration};
use crate::error::{Error, Result};
use crate::evd::{Knowledge, Vocabulary, knowledge, vocabulary};
use crate::pipeline::TextEmbedder;
use crate::reference_pairs::ReferencePairs;
use crate::wordnet::{DEFAULT_DIRECTORY, WordNet};

/// The combination that comes with relens, its weights fitted on pictures kept aside: `evd.toml` beside the bundled
/// knowledge base.
pub const FITTED: &str = "evd";

/// The retriever's own enhancer, from [`DEFAULT_FILE`] in its directory; `identity` where there is none.
pub const DEFAULT: &str = "default";

/// The file beside a retriever that says how its queries are best enhanced.
pub const DEFAULT_FILE: &str = "enhancer.toml";

/// The names that can be opened.
pub const NAMES: [&str; 13] = [
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

/// Opens what `spec` names: one of [`NAMES`], or a file whose name ends in `.toml`.
///
/// # Errors
/// [`Error::UnknownEnhancer`]; [`Error::Enhancer`] naming the setting that cannot be used; those of the files that an
/// enhancer reads.
pub fn open(spec: &str, context: &EnhancerContext) -> Result<Box<dyn QueryEnhancer>> {
    if spec == FITTED {
        return open_file(&bundled::model(knowledge::BUNDLED)?.join("evd.toml"), context);
    }
    if spec.ends_with(".toml") {
        return open_file(Path::new(spec), context);
    }
    let own = context.embedder.as_ref().and_then(|embedder| embedder.directory());
    match own.map(|directory| directory.join(DEFAULT_FILE)).filter(|file| file.is_file()) {
        Some(file) if spec == DEFAULT => return open_file(&file, context),
        None if spec == DEFAULT => return Ok(Box::new(Identity)),
        _ => {}
    }
    open_member(
        &Settings { name: spec.to_owned(), table: toml::Table::new(), directory: PathBuf::new() },
        context,
    )
}

/// A whole TOML file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnsembleSpec {
    #[serde(default = "mean_embedding")]
    combine: Combination,
    /// Moves every text's embedding towards what similar captions show.
    neighbours: Option<WithPairs<NeighbourSettings>>,
    /// Lowers hubs.
    calibration: Option<WithPairs<CalibrationSettings>>,
    #[serde(default)]
    enhancer: Vec<toml::Table>,
}

/// A file of reference pairs, and settings of what works by them.
#[derive(Deserialize)]
#[serde(try_from = "toml::Table", bound = "S: DeserializeOwned")]
struct WithPairs<S> {
    pairs: PathBuf,
    settings: S,
}

impl<S: DeserializeOwned> TryFrom<toml::Table> for WithPairs<S> {
    type Error = String;

    // Not by serde's `flatten`, which lets unknown settings pass.
    fn try_from(mut table: toml::Table) -> std::result::Result<Self, String> {
        let pairs = match table.remove("pairs") {
            Some(toml::Value::String(pairs)) => PathBuf::from(pairs),
            other => return Err(format!("expected `pairs`, a file of reference pairs, found {other:?}")),
        };
        let settings = toml::Value::Table(table).try_into();
        Ok(Self { pairs, settings: settings.map_err(|error: toml::de::Error| error.message().to_owned())? })
    }
}

fn mean_embedding() -> Combination {
    Combination::MeanEmbedding
}

fn open_file(path: &Path, context: &EnhancerContext) -> Result<Box<dyn QueryEnhancer>> {
    let unreadable = |reason: String| Error::Enhancer { enhancer: path.display().to_string(), reason };
    let spec: EnsembleSpec =
        toml::from_str(&fs_err::read_to_string(path)?).map_err(|error| unreadable(error.to_string()))?;
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut members = Vec::new();
    for mut table in spec.enhancer {
        let name = match table.remove("name") {
            Some(toml::Value::String(name)) => name,
            other => return Err(unreadable(format!("expected the name of each enhancer, found {other:?}"))),
        };
        let weight = match table.remove("weight") {
            None => 1.0,
            Some(toml::Value::Float(weight)) => weight as f32,
            Some(toml::Value::Integer(weight)) => weight as f32,
            Some(other) => {
                return Err(unreadable(format!("`{name}`: expected a number as weight, found {other}")));
            }
        };
        let settings = Settings { name, table, directory: directory.clone() };
        members.push(Member { weight, enhancer: open_member(&settings, context)? });
    }
    let has_references = spec.neighbours.is_some() || spec.calibration.is_some();
    let enhancer: Box<dyn QueryEnhancer> = match <[Member; 1]>::try_from(members) {
        // One enhancer alone keeps its own way of combining.
        Ok([only]) => only.enhancer,
        Err(members) if members.is_empty() && has_references => Box::new(Identity),
        Err(members) => Box::new(Ensemble::new(members, spec.combine)?),
    };
    with_references(enhancer, spec.neighbours, spec.calibration, &directory)
}

/// Adds what works by reference pairs; a file that both name is read once.
fn with_references(
    enhancer: Box<dyn QueryEnhancer>,
    neighbours: Option<WithPairs<NeighbourSettings>>,
    calibration: Option<WithPairs<CalibrationSettings>>,
    directory: &Path,
) -> Result<Box<dyn QueryEnhancer>> {
    if neighbours.is_none() && calibration.is_none() {
        return Ok(enhancer);
    }
    let mut opened: BTreeMap<PathBuf, Arc<ReferencePairs>> = BTreeMap::new();
    let mut open = |path: &Path| -> Result<Arc<ReferencePairs>> {
        if let Some(pairs) = opened.get(path) {
            return Ok(pairs.clone());
        }
        let pairs = Arc::new(ReferencePairs::open(&directory.join(path))?);
        opened.insert(path.to_owned(), pairs.clone());
        Ok(pairs)
    };
    let enrichment = neighbours
        .map(|neighbours| Enrichment::new(open(&neighbours.pairs)?, neighbours.settings))
        .transpose()?;
    let calibration = calibration
        .map(|calibration| HubnessCalibration::new(&open(&calibration.pairs)?, calibration.settings))
        .transpose()?;
    Ok(Box::new(Referenced::new(enhancer, enrichment, calibration)))
}

/// The settings of one enhancer as they stand in the file.
struct Settings {
    name: String,
    table: toml::Table,
    directory: PathBuf,
}

impl Settings {
    fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::Value::Table(self.table.clone())
            .try_into()
            .map_err(|error: toml::de::Error| self.refuse(error.message()))
    }

    fn refuse(&self, reason: &str) -> Error {
        Error::Enhancer { enhancer: self.name.clone(), reason: reason.to_owned() }
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    fn required(&self, path: Option<&PathBuf>, key: &str) -> Result<PathBuf> {
        let missing =
            || self.refuse(&format!("expected the setting `{key}`: open it from a .toml file that has it"));
        path.map(|path| self.path(path)).ok_or_else(missing)
    }

    fn knowledge(&self, path: Option<&PathBuf>, context: &EnhancerContext) -> Result<Arc<Knowledge>> {
        let knowledge = match (path, &context.home) {
            (Some(path), _) => Knowledge::load(&self.path(path)),
            (None, Some(home)) => Knowledge::of_home(home),
            (None, None) => Knowledge::bundled(),
        };
        knowledge.map(Arc::new)
    }

    fn finder(
        &self,
        path: Option<&PathBuf>,
        entities: EntitySettings,
        context: &EnhancerContext,
    ) -> Result<EntityFinder> {
        Ok(EntityFinder::new(self.knowledge(path, context)?, context.embedder.clone(), entities))
    }

    fn wordnet(&self, directory: Option<&PathBuf>) -> Result<WordNet> {
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

/// Settings of `identity`: none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentitySpec {}

/// Settings of `descriptions`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DescriptionsSpec {
    /// The knowledge base; default: that of the home directory, else the bundled one.
    pub knowledge: Option<PathBuf>,
    /// Which entities are described.
    pub entities: EntitySettings,
    /// What a text holds beside a description.
    pub template: Template,
    /// How much the query itself counts.
    pub mix: Mix,
}

/// Settings of `concat`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConcatSpec {
    /// The knowledge base.
    pub knowledge: Option<PathBuf>,
    /// Which entities are described.
    pub entities: EntitySettings,
    /// How much the query itself counts.
    pub mix: Mix,
}

/// Settings of `wordnet`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WordNetSpec {
    /// Where the dictionary files are; default: where Debian puts them.
    pub directory: Option<PathBuf>,
    /// The knowledge base, which says what is an entity.
    pub knowledge: Option<PathBuf>,
    /// Which entities are defined.
    pub entities: EntitySettings,
    /// How much the query itself counts.
    pub mix: Mix,
}

/// Settings of `adapter`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdapterSpec {
    /// The trained weights; default: the bundled ones, if they were trained for the retriever in use.
    pub weights: Option<PathBuf>,
    /// The knowledge base.
    pub knowledge: Option<PathBuf>,
    /// Which entities are described.
    pub entities: EntitySettings,
    /// What a text holds beside a description.
    pub template: Template,
    /// How much the query itself counts.
    pub mix: Mix,
}

/// Settings of `selection`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionSpec {
    /// Learned values of descriptions; default: the bundled ones.
    pub values: Option<PathBuf>,
    /// The knowledge base.
    pub knowledge: Option<PathBuf>,
    /// Which entities are described. All descriptions are chosen from, whatever `max_descriptions` says.
    pub entities: EntitySettings,
    /// What a text holds beside a description.
    pub template: Template,
    /// How descriptions are chosen.
    pub choice: SelectionSettings,
    /// How much the query itself counts.
    pub mix: Mix,
}

/// Settings of `retrieval_augmented`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrievalAugmentedSpec {
    /// The embedded pairs; required.
    pub pairs: Option<PathBuf>,
    /// How neighbours count.
    pub neighbours: NeighbourSettings,
}

/// Settings of `llm`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LlmSpec {
    /// Files of recorded replies; at least one.
    pub records: Vec<PathBuf>,
    /// The kinds of rewrites that are used; default: all.
    pub kinds: Vec<String>,
    /// How much the query itself counts.
    pub mix: Mix,
}

/// Settings of `arithmetic`: there are none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArithmeticSpec {}

/// Settings of `composer`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComposerSpec {
    /// The words that captions use, `word<TAB>count` a line; default: the bundled ones.
    pub vocabulary: Option<PathBuf>,
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

fn open_member(settings: &Settings, context: &EnhancerContext) -> Result<Box<dyn QueryEnhancer>> {
    let checked = |mix: Mix| mix.ensure_valid(&settings.name).map(|()| mix);
    Ok(match settings.name.as_str() {
        "identity" => {
            let IdentitySpec {} = settings.parse()?;
            Box::new(Identity)
        }
        "descriptions" => {
            let spec: DescriptionsSpec = settings.parse()?;
            let finder = settings.finder(spec.knowledge.as_ref(), spec.entities, context)?;
            Box::new(Descriptions::new(finder, spec.template, checked(spec.mix)?))
        }
        "concat" => {
            let spec: ConcatSpec = settings.parse()?;
            let finder = settings.finder(spec.knowledge.as_ref(), spec.entities, context)?;
            Box::new(Concat::new(finder, checked(spec.mix)?))
        }
        "wordnet" => {
            let spec: WordNetSpec = settings.parse()?;
            let wordnet = settings.wordnet(spec.directory.as_ref())?;
            let finder = settings.finder(spec.knowledge.as_ref(), spec.entities, context)?;
            Box::new(WordNetDefinitions::new(finder, wordnet, checked(spec.mix)?))
        }
        "adapter" => {
            let spec: AdapterSpec = settings.parse()?;
            let weights = match &spec.weights {
                Some(path) => AdapterWeights::open(&settings.path(path))?,
                None => adapter::bundled_weights(context.embedder.as_deref())?,
            };
            let finder = settings.finder(spec.knowledge.as_ref(), spec.entities, context)?;
            Box::new(Adapter::new(Descriptions::new(finder, spec.template, checked(spec.mix)?), weights))
        }
        "selection" => {
            let spec: SelectionSpec = settings.parse()?;
            let values = match &spec.values {
                Some(path) => DescriptionValues::open(&settings.path(path))?,
                None => selection::bundled_values()?,
            };
            let entities = EntitySettings { max_descriptions: usize::MAX, ..spec.entities };
            let finder = settings.finder(spec.knowledge.as_ref(), entities, context)?;
            Box::new(Selection::new(finder, spec.template, values, spec.choice, checked(spec.mix)?))
        }
        "retrieval_augmented" => {
            let spec: RetrievalAugmentedSpec = settings.parse()?;
            let pairs = ReferencePairs::open(&settings.required(spec.pairs.as_ref(), "pairs")?)?;
            Box::new(RetrievalAugmented::new(Arc::new(pairs), spec.neighbours)?)
        }
        "llm" => {
            let spec: LlmSpec = settings.parse()?;
            settings.required(spec.records.first(), "records")?;
            let records: Vec<PathBuf> = spec.records.iter().map(|path| settings.path(path)).collect();
            let records: Vec<&Path> = records.iter().map(PathBuf::as_path).collect();
            Box::new(RecordedLlm::open(&records, &spec.kinds, checked(spec.mix)?)?)
        }
        "composer" => Box::new(open_composer(settings, context)?),
        "rewriter" => Box::new(open_rewriter(settings, context)?),
        arithmetic::NAME => {
            let ArithmeticSpec {} = settings.parse()?;
            Box::new(Arithmetic)
        }
        unknown => {
            return Err(Error::UnknownEnhancer { name: unknown.to_owned(), available: NAMES.join(", ") });
        }
    })
}

fn open_rewriter(settings: &Settings, context: &EnhancerContext) -> Result<Rewriter> {
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

fn open_composer(settings: &Settings, context: &EnhancerContext) -> Result<Composer> {
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
    let words = match &spec.vocabulary {
        Some(path) => settings.path(path),
        None => bundled::model(knowledge::BUNDLED)?.join(vocabulary::BUNDLED_FILE),
    };
    let finder = settings.finder(spec.knowledge.as_ref(), spec.entities, context)?;
    let mut vocabulary = Vocabulary::open(&words)?;
    let entities = finder.knowledge().entities();
    vocabulary.include(
        entities
            .iter()
            .flat_map(|entity| std::iter::once(&entity.name).chain(&entity.aliases))
            .map(String::as_str),
    );
    let materials = Materials {
        finder,
        vocabulary: Arc::new(vocabulary),
        wordnet: spec
            .wordnet
            .as_ref()
            .map(|place| settings.wordnet(Some(place)).map(Arc::new))
            .transpose()?,
    };
    Ok(Generator::new(materials, spec.candidates))
}

#[cfg(test)]
mod tests;
