//! The generator: every candidate is the query with a few changes that are named.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::super::entity_finder::{EntityFinder, FoundEntity};
use super::super::spelling::Spelling;
use super::super::{Query, TraceEntry};
use super::clean;
use super::phrases::woven;
use crate::english::lemma::plural;
use crate::english::{Correction, Vocabulary};
use crate::error::Result;
use crate::knowledge::wordnet::WordNet;
use crate::knowledge::{Knowledge, Mention};

/// How much is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneratorConfig {
    /// The most candidates of one query; default 64. The simpler ones come first.
    pub max_candidates: usize,
    /// The most descriptions of one entity in one candidate; default 3.
    pub max_descriptions: usize,
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        Self { max_candidates: 64, max_descriptions: 3 }
    }
}

/// What was done to the query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Rewording {
    /// A misspelt word was corrected.
    Corrected {
        /// As typed.
        from: String,
        /// As meant.
        to: String,
    },
    /// Words that show nothing were left out.
    Dropped {
        /// Those words.
        words: String,
    },
    /// An entity goes by a synonym or by what it is a kind of.
    Renamed {
        /// As typed.
        from: String,
        /// Its other name.
        to: String,
        /// How often captions name the entity.
        frequency: u64,
        /// How often captions use the rarest word of the other name.
        new_frequency: u64,
    },
    /// A description was woven in.
    Described {
        /// The entity.
        entity: String,
        /// The description.
        description: String,
        /// How often captions name the entity.
        frequency: u64,
    },
}

impl Rewording {
    /// Whether it leaves out words that are to stay.
    pub(super) fn drops_kept(&self, query: &Query) -> bool {
        matches!(self, Self::Dropped { words } if query.keeps(words))
    }

    /// What a trace says of it.
    pub fn trace(&self) -> TraceEntry {
        match self {
            Self::Corrected { from, to } | Self::Renamed { from, to, .. } => {
                TraceEntry::Replaced { from: from.clone(), to: to.clone() }
            }
            Self::Dropped { words } => TraceEntry::Replaced { from: words.clone(), to: String::new() },
            Self::Described { entity, description, .. } => TraceEntry::EntityFound {
                surface: entity.clone(),
                entity: entity.clone(),
                sense: None,
                descriptions: vec![description.clone()],
            },
        }
    }
}

/// A rewrite and how it came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The text.
    pub text: String,
    /// What was done to the query, in order.
    pub changes: Vec<Rewording>,
}

/// Generates candidates; the same query always gives the same ones in the same order.
pub struct Generator {
    finder: EntityFinder,
    spelling: Spelling,
    /// Where hypernyms and more synonyms come from.
    wordnet: Option<WordNet>,
    config: GeneratorConfig,
    corrects: bool,
}

impl Generator {
    /// Changes the entities of `finder` and corrects by `spelling`.
    pub fn new(finder: EntityFinder, spelling: Spelling, config: GeneratorConfig) -> Self {
        Self { finder, spelling, wordnet: None, config, corrects: true }
    }

    /// The same, with other names of entities from a dictionary if there is one.
    #[must_use]
    pub fn with_wordnet(self, wordnet: Option<WordNet>) -> Self {
        Self { wordnet, ..self }
    }

    /// The same for queries whose spelling was corrected before.
    #[must_use]
    pub fn for_corrected_queries(self) -> Self {
        Self { corrects: false, ..self }
    }

    /// The words that captions use.
    pub fn vocabulary(&self) -> &Vocabulary {
        self.spelling.vocabulary()
    }

    /// A query in another language word by word, unless queries come with that done.
    ///
    /// # Errors
    /// Those of [`Spelling::word_by_word`].
    pub(super) fn word_by_word(&self, query: &Query) -> Result<Option<(Query, TraceEntry)>> {
        if self.corrects { self.spelling.word_by_word(query) } else { Ok(None) }
    }

    /// What it knows of things and words.
    pub fn knowledge(&self) -> &Knowledge {
        self.finder.knowledge()
    }

    /// The candidates of every query, none of them the query itself and none twice.
    ///
    /// # Errors
    /// Those of the embedder that tells senses apart and of the dictionary.
    pub fn generate(&self, queries: &[Query]) -> Result<Vec<Vec<Candidate>>> {
        let mut all: Vec<Candidates> = Vec::with_capacity(queries.len());
        let mut cleaned = Vec::with_capacity(queries.len());
        for query in queries {
            let mut candidates = Candidates::new(query.text(), self.config.max_candidates);
            let clean = self.clean(query, &mut candidates);
            // Cleaning keeps a word at least, so that this is a query again.
            cleaned.push(query.with_text(&clean.text)?);
            candidates.base = clean.changes;
            all.push(candidates);
        }
        let found = self.finder.find(&cleaned)?;
        for ((candidates, query), found) in all.iter_mut().zip(&cleaned).zip(&found) {
            self.rename(query.text(), found, candidates)?;
            self.describe(query.text(), found, candidates);
        }
        Ok(all.into_iter().map(|candidates| candidates.list).collect())
    }

    /// Offers the corrected text, then that without filler, and returns the cleanest.
    fn clean(&self, query: &Query, candidates: &mut Candidates) -> Candidate {
        let text = query.text();
        let (corrected, corrections) =
            if self.corrects { self.spelling.corrected(text) } else { (text.to_owned(), Vec::new()) };
        let change = |Correction { from, to }| Rewording::Corrected { from, to };
        let mut changes: Vec<Rewording> = corrections.into_iter().map(change).collect();
        candidates.offer(corrected.clone(), changes.clone());
        let (short, dropped) = clean::without_unkept_filler(&corrected, query);
        changes.extend(dropped);
        candidates.offer(short.clone(), changes.clone());
        Candidate { text: short, changes }
    }

    fn rename(&self, text: &str, found: &[FoundEntity<'_>], candidates: &mut Candidates) -> Result<()> {
        for found in found {
            for name in self.other_names(found)? {
                let to = if found.mention.plural { plural(&name) } else { name.clone() };
                let range = found.mention.range.clone();
                let (Some(before), Some(after)) = (text.get(..range.start), text.get(range.end..)) else {
                    continue;
                };
                let words = name.split(' ').map(|word| self.vocabulary().count(word));
                let change = Rewording::Renamed {
                    from: found.mention.surface.clone(),
                    to: to.clone(),
                    frequency: found.entity.frequency,
                    new_frequency: words.min().unwrap_or(0),
                };
                candidates.offer_change(format!("{before}{to}{after}"), vec![change]);
            }
        }
        Ok(())
    }

    /// Aliases, then WordNet's synonyms and what the entity is a kind of, without the name that was typed.
    fn other_names(&self, found: &FoundEntity<'_>) -> Result<Vec<String>> {
        let mut names: Vec<String> =
            std::iter::once(&found.entity.name).chain(&found.entity.aliases).cloned().collect();
        if let Some(wordnet) = &self.wordnet
            && let Some(definition) = wordnet.define(&found.entity.name)?
        {
            names.extend(definition.synonyms);
            names.extend(definition.hypernyms);
        }
        let typed = found.mention.surface.to_lowercase();
        let mut seen = HashSet::new();
        names.retain(|name| *name != typed && plural(name) != typed && seen.insert(name.clone()));
        Ok(names)
    }

    /// Where a description of a mention goes: behind the nouns that the mention tells of, as behind "tables" in "square
    /// tables".
    fn with_its_noun(&self, text: &str, mention: &Mention, all: &[Mention]) -> Mention {
        let mut wider = mention.clone();
        while let Some(next) = all.iter().find(|next| {
            let gap = text.get(wider.range.end..next.range.start);
            gap.is_some_and(|gap| !gap.is_empty() && gap.bytes().all(|byte| matches!(byte, b' ' | b'-')))
        }) {
            wider.range.end = next.range.end;
        }
        wider
    }

    /// One description of one entity, then several of one, then one of each of two entities.
    fn describe(&self, text: &str, found: &[FoundEntity<'_>], candidates: &mut Candidates) {
        let all = self.knowledge().find(text);
        let found: Vec<FoundEntity<'_>> = found
            .iter()
            .map(|found| FoundEntity {
                mention: self.with_its_noun(text, &found.mention, &all),
                ..found.clone()
            })
            .collect();
        let found = &found;
        let described = |found: &FoundEntity<'_>, description: &str| Rewording::Described {
            entity: found.entity.name.clone(),
            description: description.to_owned(),
            frequency: found.entity.frequency,
        };
        for size in 1..=self.config.max_descriptions {
            for found in found {
                for subset in subsets(&found.descriptions, size) {
                    let changes = subset.iter().map(|description| described(found, description)).collect();
                    candidates.offer_change(woven(text, &[(&found.mention, &subset)]), changes);
                }
            }
        }
        for (position, left) in found.iter().enumerate() {
            for right in found.iter().skip(position + 1) {
                for (&first, &second) in
                    left.descriptions.iter().flat_map(|a| right.descriptions.iter().map(move |b| (a, b)))
                {
                    let text = woven(text, &[(&left.mention, &[first]), (&right.mention, &[second])]);
                    candidates.offer_change(text, vec![described(left, first), described(right, second)]);
                }
            }
        }
    }
}

/// All choices of `size` items in their order.
fn subsets<'a>(items: &[&'a str], size: usize) -> Vec<Vec<&'a str>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut found = Vec::new();
    for (position, &first) in items.iter().enumerate() {
        for mut rest in subsets(items.get(position + 1..).unwrap_or_default(), size - 1) {
            rest.insert(0, first);
            found.push(rest);
        }
    }
    found
}

/// The candidates of one query so far.
struct Candidates {
    list: Vec<Candidate>,
    seen: HashSet<String>,
    limit: usize,
    /// What was done before every further change.
    base: Vec<Rewording>,
}

impl Candidates {
    fn new(query: &str, limit: usize) -> Self {
        Self { list: Vec::new(), seen: HashSet::from([query.to_owned()]), limit, base: Vec::new() }
    }

    fn offer(&mut self, text: String, changes: Vec<Rewording>) {
        if self.list.len() < self.limit && !changes.is_empty() && self.seen.insert(text.clone()) {
            self.list.push(Candidate { text, changes });
        }
    }

    fn offer_change(&mut self, text: String, changes: Vec<Rewording>) {
        let changes = self.base.iter().cloned().chain(changes).collect();
        self.offer(text, changes);
    }
}
