//! Candidate rewrites without a language model: a deterministic generator, and the enhancer that chooses among them
//! without a retriever.
//!
//! The generator offers what a person might type instead: misspellings corrected, filler dropped, entities under
//! another name, and 0 to 3 descriptions of each entity woven in where they read naturally. The retriever's feedback may
//! choose among the candidates (mining does); the enhancer [`Composer`] chooses by what captions use.
//!
//! Before that, talk around the request is dropped ([`chat`]) and keywords become a phrase ([`keywords`]); words that the
//! retriever has hardly seen are replaced by words that it knows ([`wording`]), in two ways where a word has two
//! meanings, and the more of a query that is, the less the query itself counts.

mod candidates;
mod chat;
mod clean;
pub mod keywords;
mod phrases;
pub mod preferences;
pub mod wording;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use candidates::{Candidate, Change, Generator, GeneratorSettings};

use super::entity_finder::EntityFinder;
use super::mix::Mix;
use super::{EnhancedQuery, Query, QueryEnhancer, TraceEntry, WeightedText};
use keywords::Links;
use wording::{Reworded, Wording};
use crate::english::{Vocabulary, WordList};
use crate::error::Result;

/// How the enhancer chooses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComposerSettings {
    /// A word that captions use at most so often is unfamiliar to the retriever; default 10.
    pub unfamiliar_up_to: u64,
    /// The share of a query that is reworded, if hardly anything of it is unfamiliar; it falls to nothing where all is.
    /// Default 0.6.
    pub reworded_share: f32,
    /// An entity that captions name at most so often is explained; more frequent ones the retriever knows. Default 20.
    pub explained_up_to: u64,
    /// How many rewrites are used, the best first; default 2.
    pub rewrites: usize,
}

impl Default for ComposerSettings {
    fn default() -> Self {
        Self { unfamiliar_up_to: 10, reworded_share: 0.6, explained_up_to: 20, rewrites: 2 }
    }
}

/// The enhancer.
pub struct Composer {
    generator: Generator,
    language: Language,
    settings: ComposerSettings,
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
const SHARE_OF_SECOND_MEANINGS: f32 = 0.4;

impl Composer {
    /// Chooses among what `generator` offers.
    pub fn new(generator: Generator, language: Language, settings: ComposerSettings, mix: Mix) -> Self {
        Self { generator, language, settings, mix }
    }

    /// The query without talk, keywords as a phrase; with what was done to it.
    fn asked_for(&self, query: &Query) -> Result<(Query, Vec<TraceEntry>)> {
        let (text, dropped) = chat::without_chat(query.text());
        let mut trace: Vec<TraceEntry> = dropped.iter().map(Change::trace).collect();
        let text = match self.language.links.phrase(&text) {
            Some(phrase) => {
                trace.push(TraceEntry::Replaced { from: text, to: phrase.clone() });
                phrase
            }
            None => text,
        };
        if trace.is_empty() { Ok((query.clone(), trace)) } else { Ok((Query::new(&text)?, trace)) }
    }

    /// The query reworded, beside what the generator's best candidates add to it.
    fn reworded(&self, query: &Query, reworded: Reworded, described: &EnhancedQuery, trace: Vec<TraceEntry>) -> EnhancedQuery {
        let mut trace = trace;
        trace.extend(reworded.replaced.iter().map(|replaced| TraceEntry::Reworded {
            from: replaced.from.clone(),
            to: replaced.to.clone(),
            seen: replaced.seen,
        }));
        let share = self.settings.reworded_share * (1.0 - reworded.unfamiliarity);
        let second = if reworded.other == reworded.text { 0.0 } else { SHARE_OF_SECOND_MEANINGS };
        let mut rewrites = vec![WeightedText { text: reworded.text.clone(), weight: 1.0 - second }];
        if second > 0.0 {
            rewrites.push(WeightedText { text: reworded.other, weight: second });
        }
        let added = described.texts.iter().filter(|text| text.text != query.text());
        let added: Vec<WeightedText> = added.cloned().collect();
        if !added.is_empty() {
            trace.extend(described.trace.iter().filter(|step| !matches!(step, TraceEntry::Kept { .. })).cloned());
            rewrites.extend(added);
        }
        trace.push(TraceEntry::TextAdded { text: reworded.text, source: self.name().to_owned() });
        Mix { original_share: share, ..self.mix }.with_rewrites(query, rewrites, trace)
    }

    /// Higher is better; `None` leaves a candidate out. Corrections and dropped filler are always good. A description
    /// is good where it explains a rare entity in words that captions use.
    fn worth(&self, candidate: &Candidate, vocabulary: &Vocabulary) -> Option<f64> {
        let mut worth = 0.0;
        for change in &candidate.changes {
            worth += match change {
                Change::Corrected { .. } => 10.0,
                Change::Dropped { .. } => 5.0,
                Change::Renamed { frequency, new_frequency, .. } => {
                    if *frequency > self.settings.explained_up_to || new_frequency <= frequency {
                        return None;
                    }
                    3.0
                }
                Change::Described { frequency, description, .. } => {
                    if *frequency > self.settings.explained_up_to {
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
        ranked.truncate(self.settings.rewrites);
        let mut trace = Vec::new();
        for (_, candidate) in &ranked {
            trace.extend(candidate.changes.iter().map(Change::trace));
            trace.push(TraceEntry::TextAdded { text: candidate.text.clone(), source: "composer".to_owned() });
        }
        trace.dedup();
        let texts = ranked.into_iter().map(|(_, candidate)| candidate.text.clone()).collect();
        self.mix.with_rewrites(query, super::mix::alike(texts), trace)
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

    fn enhance(&self, query: &Query) -> Result<EnhancedQuery> {
        super::single(self.enhance_batch(std::slice::from_ref(query))?, self.name())
    }

    fn enhance_batch(&self, queries: &[Query]) -> Result<Vec<EnhancedQuery>> {
        let asked = queries.iter().map(|query| self.asked_for(query)).collect::<Result<Vec<_>>>()?;
        let (queries, traces): (Vec<Query>, Vec<Vec<TraceEntry>>) = asked.into_iter().unzip();
        let candidates = self.generator.generate(&queries)?;
        let vocabulary = self.generator.vocabulary();
        let words = self.generator.knowledge().words();
        let enhanced = queries.iter().zip(&candidates).zip(traces).map(|((query, all), mut trace)| {
            let chosen = self.choose(query, all, vocabulary);
            let reworded = self.language.wording.as_ref().and_then(|wording| wording.reword(query.text(), words));
            match reworded {
                Some(reworded) => self.reworded(query, reworded, &chosen, trace),
                None if trace.is_empty() => chosen,
                None => {
                    trace.extend(chosen.trace.into_iter().filter(|step| !matches!(step, TraceEntry::Kept { .. })));
                    EnhancedQuery { trace, ..chosen }
                }
            }
        });
        Ok(enhanced.collect())
    }
}

/// What a generator is made of: entities to describe, words to correct by, and, if there is one, a dictionary for
/// other names.
pub struct Materials {
    /// Finds the entities.
    pub finder: EntityFinder,
    /// The words that captions use.
    pub vocabulary: Arc<Vocabulary>,
    /// Words that are spelled right, whether captions use them or not.
    pub words: Arc<WordList>,
    /// Where hypernyms and more synonyms come from.
    pub wordnet: Option<Arc<crate::knowledge::wordnet::WordNet>>,
}

#[cfg(test)]
mod tests;
