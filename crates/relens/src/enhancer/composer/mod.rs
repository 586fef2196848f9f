//! Candidate rewrites without a language model: a deterministic generator, and the enhancer that chooses among them
//! without a retriever.
//!
//! The generator offers what a person might type instead: misspellings corrected, filler dropped, entities under
//! another name, and 0 to 3 descriptions of each entity woven in where they read naturally. The retriever's feedback may
//! choose among the candidates (mining does); the enhancer [`Composer`] chooses by what captions use.

mod candidates;
mod clean;
mod phrases;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use candidates::{Candidate, Change, Generator, GeneratorConfig};

use super::entity_finder::{EntityConfig, EntityFinder};
use super::mix::{Mix, equally_weighted};
use super::open::{EnhancerContext, EnhancerTable};
use super::spelling::Spelling;
use super::{EnhancedQuery, Query, QueryEnhancer, TraceEntry};
use crate::english::Vocabulary;
use crate::error::Result;
use crate::index::Index;

/// How the enhancer chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChoiceConfig {
    /// An entity that captions name at most so often is explained; more frequent ones the retriever knows. Default 20.
    pub explained_up_to: u64,
    /// How many rewrites are used, the best first; default 2.
    pub rewrites: usize,
}

impl Default for ChoiceConfig {
    fn default() -> Self {
        Self { explained_up_to: 20, rewrites: 2 }
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
    choice: ChoiceConfig,
    mix: Mix,
}

impl Composer {
    /// Chooses among what `generator` offers.
    pub fn new(generator: Generator, choice: ChoiceConfig, mix: Mix) -> Self {
        Self { generator, choice, mix }
    }

    pub(super) fn open(table: &EnhancerTable, context: &EnhancerContext) -> Result<Self> {
        let config: ComposerConfig = table.parse()?;
        config.mix.ensure_valid(&table.name)?;
        Ok(Self::new(config.generator(table, context)?, config.choice, config.mix))
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
                    if *frequency > self.choice.explained_up_to || new_frequency <= frequency {
                        return None;
                    }
                    3.0
                }
                Change::Described { frequency, description, .. } => {
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
            trace.extend(candidate.changes.iter().map(Change::trace));
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

    fn generator(&self, table: &EnhancerTable, context: &EnhancerContext) -> Result<Generator> {
        let knowledge = table.knowledge(self.knowledge.as_ref(), context)?;
        let vocabulary = Arc::new(table.vocabulary(self.vocabulary.as_ref(), &knowledge)?);
        let words = Arc::new(table.word_list(self.words.as_ref())?);
        let wordnet = self.wordnet.as_ref().map(|place| table.wordnet(Some(place))).transpose()?;
        let finder = EntityFinder::new(knowledge.clone(), context.embedder.clone(), self.entities);
        let generator = Generator::new(finder, Spelling::new(vocabulary, knowledge, words), self.candidates);
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
        let candidates = self.generator.generate(queries)?;
        let vocabulary = self.generator.vocabulary();
        let chosen = queries.iter().zip(&candidates).map(|(query, all)| self.choose(query, all, vocabulary));
        Ok(chosen.collect())
    }
}

#[cfg(test)]
mod tests;
