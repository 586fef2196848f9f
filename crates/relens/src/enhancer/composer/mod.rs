//! Candidate rewrites without a language model: a deterministic generator, and the enhancer that chooses among them
//! without a retriever.
//!
//! The generator offers what a person might type instead: misspellings corrected, filler dropped, entities under
//! another name, and 0 to 3 descriptions of each entity woven in where they read naturally. The retriever's feedback may
//! choose among the candidates (mining does); the enhancer [`Composer`] chooses by what captions use.

mod candidates;
mod clean;
mod phrases;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use candidates::{Candidate, Change, Generator, GeneratorSettings};

use super::entity_finder::EntityFinder;
use super::mix::{Mix, alike};
use super::{EnhancedQuery, Query, QueryEnhancer, TraceEntry};
use crate::english::{Vocabulary, WordList};
use crate::error::Result;

/// How the enhancer chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComposerSettings {
    /// An entity that captions name at most so often is explained; more frequent ones the retriever knows. Default 20.
    pub explained_up_to: u64,
    /// How many rewrites are used, the best first; default 2.
    pub rewrites: usize,
}

impl Default for ComposerSettings {
    fn default() -> Self {
        Self { explained_up_to: 20, rewrites: 2 }
    }
}

/// The enhancer.
pub struct Composer {
    generator: Generator,
    settings: ComposerSettings,
    mix: Mix,
}

impl Composer {
    /// Chooses among what `generator` offers.
    pub fn new(generator: Generator, settings: ComposerSettings, mix: Mix) -> Self {
        Self { generator, settings, mix }
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
        self.mix.with_rewrites(query, alike(texts), trace)
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
        let candidates = self.generator.generate(queries)?;
        let vocabulary = self.generator.vocabulary();
        let chosen = queries.iter().zip(&candidates).map(|(query, all)| self.choose(query, all, vocabulary));
        Ok(chosen.collect())
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
