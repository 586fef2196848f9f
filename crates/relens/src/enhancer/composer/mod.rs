//! Candidate rewrites without a language model: a deterministic generator, and the enhancer that chooses among them
//! without a retriever.
//!
//! The generator offers what a person might type instead: misspellings corrected, filler dropped, entities under
//! another name, and 0 to 3 descriptions of each entity woven in where they read naturally. The retriever's feedback may
//! choose among the candidates (mining does); the enhancer [`Composer`] chooses by what captions use.
//!
//! Before that, a query in another language is read word by word, talk around the request is dropped (`chat`) and
//! keywords become a phrase ([`keywords`]); words that the retriever has hardly seen are replaced by words that it knows
//! ([`wording`]), in two ways where a word has two meanings, and the more of a query that is, the less the query itself
//! counts.

mod candidates;
mod chat;
mod clean;
pub mod keywords;
mod phrases;
pub(in crate::enhancer) mod phrasing;
pub mod preferences;
pub mod wording;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use candidates::{Candidate, Generator, GeneratorConfig, Rewording};

use self::keywords::Links;
use self::preferences::{PREFERENCES_FILE, Preferences};
use self::wording::{FAMILIARITY_FILE, Reworded, Wording};
use super::entity_finder::{EntityConfig, EntityFinder};
use super::mix::{Mix, equally_weighted};
use super::open::{EnhancerContext, EnhancerTable};
use super::spelling::Spelling;
use super::{EnhancedQuery, Query, QueryEnhancer, TraceEntry, WeightedText};
use crate::english::article::with_article;
use crate::english::{Vocabulary, vocabulary};
use crate::error::Result;
use crate::index::Index;
use crate::knowledge::knowledge_base;
use crate::model_hub::bundled;

/// How the enhancer chooses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChoiceConfig {
    /// A word that captions use at most so often is unfamiliar to the retriever; default 10.
    pub unfamiliar_up_to: u64,
    /// The share of a query that is reworded, if hardly anything of it is unfamiliar; it falls to nothing where all is,
    /// with the square of what is familiar. Default 0.6.
    pub reworded_share: f32,
    /// An entity that captions name at most so often is explained; more frequent ones the retriever knows. Default 20.
    pub explained_up_to: u64,
    /// How many rewrites are used, the best first; default 2.
    pub rewrites: usize,
}

impl Default for ChoiceConfig {
    fn default() -> Self {
        Self { unfamiliar_up_to: 10, reworded_share: 0.6, explained_up_to: 20, rewrites: 2 }
    }
}

/// What `composer` can be set to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComposerConfig {
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
    pub entities: EntityConfig,
    /// How much is generated.
    pub candidates: GeneratorConfig,
    /// How candidates are chosen.
    pub choice: ChoiceConfig,
    /// How much the query itself counts.
    pub mix: Mix,
}

/// The enhancer.
pub struct Composer {
    generator: Generator,
    language: Language,
    choice: ChoiceConfig,
    mix: Mix,
}

/// What a composer knows of words and of how captions put them together.
#[derive(Default)]
pub struct Language {
    /// Rewords; without it unfamiliar words stay.
    pub wording: Option<Wording>,
    /// What captions put between two words; without it keywords stay as they are.
    pub links: Links,
}

/// How much of the weight of rewordings the second one has, which takes every word in its second meaning.
const SHARE_OF_SECOND_MEANINGS: f32 = 0.25;

impl Composer {
    /// Chooses among what `generator` offers.
    pub fn new(generator: Generator, language: Language, choice: ChoiceConfig, mix: Mix) -> Self {
        Self { generator, language, choice, mix }
    }

    /// The query in English words, without talk, keywords as a phrase; with what was done to it.
    fn asked_for(&self, query: &Query) -> Result<(Query, Vec<TraceEntry>)> {
        let (query, mut trace) = match self.generator.word_by_word(query)? {
            Some((query, step)) => (query, vec![step]),
            None => (query.clone(), Vec::new()),
        };
        let (text, dropped) = chat::without_chat(query.text());
        if dropped.iter().any(|change| change.drops_kept(&query)) {
            return Ok((query, trace));
        }
        trace.extend(dropped.iter().map(Rewording::trace));
        let text = if dropped.is_empty() { text } else { with_article(&text) };
        let text = match self.language.links.phrase(&text) {
            Some(phrase) if !query.keeps(&text) => {
                let phrase = with_article(&phrase);
                trace.push(TraceEntry::Replaced { from: text, to: phrase.clone() });
                phrase
            }
            _ => text,
        };
        if trace.is_empty() { Ok((query, trace)) } else { Ok((query.with_text(&text)?, trace)) }
    }

    /// The query reworded, beside what the generator's best candidates add to it.
    fn reworded(
        &self,
        query: &Query,
        reworded: Reworded,
        described: &EnhancedQuery,
        trace: Vec<TraceEntry>,
    ) -> EnhancedQuery {
        let mut trace = trace;
        trace.extend(reworded.replaced.iter().map(|replaced| TraceEntry::Reworded {
            from: replaced.from.clone(),
            to: replaced.to.clone(),
            seen: replaced.seen,
        }));
        let share = self.choice.reworded_share * (1.0 - reworded.unfamiliarity).powi(2);
        let second = if reworded.other == reworded.text { 0.0 } else { SHARE_OF_SECOND_MEANINGS };
        let mut rewrites = vec![WeightedText { text: reworded.text.clone(), weight: 1.0 - second }];
        if second > 0.0 {
            rewrites.push(WeightedText { text: reworded.other, weight: second });
        }
        let added = described.texts.iter().filter(|text| text.text != reworded.renamed);
        let added: Vec<WeightedText> = added.cloned().collect();
        if !added.is_empty() {
            trace.extend(
                described.trace.iter().filter(|step| !matches!(step, TraceEntry::Kept { .. })).cloned(),
            );
            rewrites.extend(added);
        }
        trace.push(TraceEntry::TextAdded { text: reworded.text, source: self.name().to_owned() });
        Mix { original_share: share, ..self.mix }.with_rewrites(query, rewrites, trace)
    }

    pub(super) fn open(table: &EnhancerTable, context: &EnhancerContext) -> Result<Self> {
        let config: ComposerConfig = table.parse()?;
        config.mix.ensure_valid(&table.name)?;
        let share = config.choice.reworded_share;
        if !(0.0..=1.0).contains(&share) {
            return Err(table.refuse(&format!("expected a reworded_share of 0 to 1, found {share}")));
        }
        let language = config.language(table, context)?;
        Ok(Self::new(config.generator(table, context)?, language, config.choice, config.mix))
    }

    /// Higher is better; `None` leaves a candidate out. Corrections and dropped filler are always good. A description
    /// is good where it explains a rare entity in words that captions use.
    fn worth(&self, candidate: &Candidate, vocabulary: &Vocabulary) -> Option<f64> {
        let mut worth = 0.0;
        for change in &candidate.changes {
            worth += match change {
                Rewording::Corrected { .. } => 10.0,
                Rewording::Dropped { .. } => 5.0,
                Rewording::Renamed { frequency, new_frequency, .. } => {
                    if *frequency > self.choice.explained_up_to || new_frequency <= frequency {
                        return None;
                    }
                    3.0
                }
                Rewording::Described { frequency, description, .. } => {
                    if *frequency > self.choice.explained_up_to {
                        return None;
                    }
                    1.0 + familiarity(description, vocabulary)
                }
            };
        }
        (!candidate.changes.is_empty()).then_some(worth)
    }

    fn choose(&self, query: &Query, candidates: &[Candidate], vocabulary: &Vocabulary) -> EnhancedQuery {
        let worth = |candidate: &Candidate| self.worth(candidate, vocabulary);
        let mut ranked: Vec<(f64, &Candidate)> =
            candidates.iter().filter_map(|candidate| Some((worth(candidate)?, candidate))).collect();
        // The sort is stable: of equal ones the simpler, which the generator offers first, is taken.
        ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
        ranked.truncate(self.choice.rewrites);
        let mut trace = Vec::new();
        for (_, candidate) in &ranked {
            trace.extend(candidate.changes.iter().map(Rewording::trace));
            trace.push(TraceEntry::TextAdded { text: candidate.text.clone(), source: "composer".to_owned() });
        }
        trace.dedup();
        let texts = ranked.into_iter().map(|(_, candidate)| candidate.text.clone()).collect();
        self.mix.with_rewrites(query, equally_weighted(texts), trace)
    }
}

impl ComposerConfig {
    /// Opens what generates the candidates, for those who choose among them in their own way.
    ///
    /// # Errors
    /// Those of the files that it reads.
    pub fn open_generator(&self, context: &EnhancerContext) -> Result<Generator> {
        self.generator(&EnhancerTable::named("composer"), context)
    }

    /// What is known of words for the retriever that is asked. Without files of its own the captions' vocabulary stands
    /// for what it knows, and the knowledge base's order for what it likes.
    fn language(&self, table: &EnhancerTable, context: &EnhancerContext) -> Result<Language> {
        let beside = |name: &str| {
            let directory =
                context.embedder.as_ref().and_then(|embedder| embedder.directory().map(PathBuf::from));
            directory.map(|directory| directory.join(name)).filter(|file| file.is_file())
        };
        let own = |path: &Option<PathBuf>, name: &str| {
            path.as_ref().map(|path| table.path(path)).or_else(|| beside(name))
        };
        let evd = bundled::model(knowledge_base::BUNDLED)?;
        let familiarity = own(&self.familiarity, FAMILIARITY_FILE)
            .or_else(|| self.vocabulary.as_ref().map(|path| table.path(path)))
            .unwrap_or_else(|| evd.join(vocabulary::BUNDLED_FILE));
        let familiarity = Arc::new(Vocabulary::open(&familiarity)?);
        let preferences = own(&self.preferences, PREFERENCES_FILE);
        let preferences = preferences.map(|path| Preferences::open(&path)).transpose()?.unwrap_or_default();
        let bundled = Some(evd.join(keywords::BUNDLED_FILE)).filter(|file| file.is_file());
        let links = self.links.as_ref().map(|path| table.path(path)).or(bundled);
        let links = links.map(|path| Links::open(&path)).transpose()?.unwrap_or_default();
        let wording = Wording::new(familiarity, preferences, self.choice.unfamiliar_up_to);
        Ok(Language { wording: Some(wording), links })
    }

    fn generator(&self, table: &EnhancerTable, context: &EnhancerContext) -> Result<Generator> {
        let knowledge = table.knowledge(self.knowledge.as_ref(), context)?;
        let vocabulary = Arc::new(table.vocabulary(self.vocabulary.as_ref(), &knowledge)?);
        let words = Arc::new(table.word_list(self.words.as_ref())?);
        let wordnet = self.wordnet.as_ref().map(|place| table.wordnet(Some(place))).transpose()?;
        let finder = EntityFinder::new(knowledge.clone(), context.embedder.clone(), self.entities);
        let pairs = table.word_pairs(None, self.vocabulary.as_ref())?;
        let spelling = Spelling::new(vocabulary, knowledge, words).with_pairs(pairs);
        let generator = Generator::new(finder, spelling, self.candidates);
        let generator = generator.with_wordnet(wordnet);
        Ok(if context.spelling_corrected { generator.for_corrected_queries() } else { generator })
    }
}

/// How common the words of a text are: the mean of their counts' logarithms over that of the commonest, 0 to 1.
fn familiarity(text: &str, vocabulary: &Vocabulary) -> f64 {
    let logarithms: Vec<f64> = text
        .split_whitespace()
        .map(|word| (vocabulary.count(&word.to_lowercase()) as f64 + 1.0).ln())
        .collect();
    let mean = logarithms.iter().sum::<f64>() / logarithms.len().max(1) as f64;
    (mean / 12.0).min(1.0)
}

impl QueryEnhancer for Composer {
    fn name(&self) -> &str {
        "composer"
    }

    fn enhance_batch(&self, queries: &[Query], _: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        let asked = queries.iter().map(|query| self.asked_for(query)).collect::<Result<Vec<_>>>()?;
        let words = self.generator.knowledge().words();
        let reword = |query: &Query| match &self.language.wording {
            Some(wording) => {
                let (text, _) = clean::without_unkept_filler(query.text(), query);
                Ok(wording.reword(&query.with_text(&text)?, words))
            }
            None => Ok(None),
        };
        let reworded = asked.iter().map(|(query, _)| reword(query)).collect::<Result<Vec<_>>>()?;
        // What a query calls by another name once it is reworded is not described as well.
        let named = asked.iter().zip(&reworded).map(|((query, _), reworded)| match reworded {
            Some(reworded) => query.with_text(&reworded.renamed),
            None => Ok(query.clone()),
        });
        let named = named.collect::<Result<Vec<Query>>>()?;
        let candidates = self.generator.generate(&named)?;
        let vocabulary = self.generator.vocabulary();
        let asked = asked.into_iter().zip(named.iter().zip(reworded)).zip(&candidates);
        let enhanced = asked.map(|(((query, mut trace), (named, reworded)), candidates)| {
            let chosen = self.choose(named, candidates, vocabulary);
            match reworded {
                Some(reworded) => self.reworded(&query, reworded, &chosen, trace),
                None if trace.is_empty() => chosen,
                None => {
                    trace.extend(
                        chosen.trace.into_iter().filter(|step| !matches!(step, TraceEntry::Kept { .. })),
                    );
                    EnhancedQuery { trace, ..chosen }
                }
            }
        });
        Ok(enhanced.collect())
    }
}

#[cfg(test)]
mod tests;
