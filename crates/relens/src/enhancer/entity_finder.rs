//! The entities of a query with their senses and descriptions: where every enhancer with a knowledge base begins.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Query, TraceEntry};
use crate::embed::TextEmbedder;
use crate::english::words::is_listed;
use crate::error::Result;
use crate::knowledge::sense::SenseChooser;
use crate::knowledge::{Entity, Knowledge, Mention};

/// Which entities of a query are described, and by how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EntityConfig {
    /// The most entities of one query that are described, the rarest in captions first: a retriever knows the frequent
    /// ones by itself. Default 3.
    pub max_entities: usize,
    /// The most descriptions of one entity. Default 3.
    pub max_descriptions: usize,
    /// Entities that captions name more often than this are left alone. Default: none are.
    pub max_frequency: Option<u64>,
}

impl Default for EntityConfig {
    fn default() -> Self {
        Self { max_entities: 3, max_descriptions: 3, max_frequency: None }
    }
}

/// An entity of a query.
#[derive(Debug, Clone)]
pub struct FoundEntity<'a> {
    /// Where the query names it.
    pub mention: Mention,
    /// The entity.
    pub entity: &'a Entity,
    /// The label of the sense that was chosen, where there are several.
    pub sense: Option<&'a str>,
    /// The descriptions of that sense, at most as many as the settings allow.
    pub descriptions: Vec<&'a str>,
}

impl FoundEntity<'_> {
    /// What a trace says of it.
    pub fn trace(&self) -> TraceEntry {
        TraceEntry::EntityFound {
            surface: self.mention.surface.clone(),
            entity: self.entity.name.clone(),
            sense: self.sense.map(str::to_owned),
            descriptions: self.descriptions.iter().map(|&text| text.to_owned()).collect(),
        }
    }

    /// The entity with one description, as DesCLIP writes it: "dog which has four legs".
    pub fn described(&self, description: &str) -> String {
        format!("{} {} {description}", self.mention.surface, link(description, self.mention.plural))
    }
}

/// Finds the entities of queries.
pub struct EntityFinder {
    knowledge: Arc<Knowledge>,
    senses: SenseChooser,
    config: EntityConfig,
}

impl EntityFinder {
    /// Looks into `knowledge`; senses are told apart with `embedder`, or the first is taken without one.
    pub fn new(
        knowledge: Arc<Knowledge>,
        embedder: Option<Arc<dyn TextEmbedder>>,
        config: EntityConfig,
    ) -> Self {
        Self { knowledge, senses: SenseChooser::new(embedder), config }
    }

    /// The knowledge base.
    pub fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// The entities of every query, in the order in which it names them, each once.
    ///
    /// # Errors
    /// Those of the embedder.
    pub fn find(&self, queries: &[Query]) -> Result<Vec<Vec<FoundEntity<'_>>>> {
        let mentions: Vec<Vec<Mention>> = queries.iter().map(|query| self.mentions(query)).collect();
        let pairs: Vec<(&str, &[Mention])> =
            queries.iter().map(Query::text).zip(mentions.iter().map(Vec::as_slice)).collect();
        let senses = self.senses.choose(&self.knowledge, &pairs)?;
        let found = mentions.into_iter().zip(senses).map(|(mentions, senses)| {
            mentions.into_iter().zip(senses).map(|(mention, sense)| self.found(mention, sense)).collect()
        });
        Ok(found.collect())
    }

    fn mentions(&self, query: &Query) -> Vec<Mention> {
        let mut mentions = self.knowledge.find(query.text());
        let mut seen = std::collections::HashSet::new();
        mentions.retain(|mention| !query.keeps(&mention.surface) && seen.insert(mention.entity));
        let frequency = |mention: &Mention| self.knowledge.entity(mention).frequency;
        if let Some(limit) = self.config.max_frequency {
            mentions.retain(|mention| frequency(mention) <= limit);
        }
        mentions.sort_by_key(frequency);
        mentions.truncate(self.config.max_entities);
        mentions.sort_by_key(|mention| mention.range.start);
        mentions
    }

    fn found(&self, mention: Mention, sense: usize) -> FoundEntity<'_> {
        let entity = self.knowledge.entity(&mention);
        let sense = self.knowledge.sense(&mention, sense);
        let descriptions = sense.descriptions.iter().take(self.config.max_descriptions);
        let descriptions = descriptions.map(|description| description.text.as_str()).collect();
        let label = sense.label.as_deref().filter(|_| entity.senses.len() > 1);
        FoundEntity { mention, entity, sense: label, descriptions }
    }
}

/// What a trace says of the entities that were found.
pub(super) fn entity_trace(found: &[FoundEntity<'_>]) -> Vec<TraceEntry> {
    if found.is_empty() {
        return vec![TraceEntry::Kept { reason: "it names no entity of the knowledge base".to_owned() }];
    }
    found.iter().map(FoundEntity::trace).collect()
}

/// Words after which a participle tells a state and not a quality: "mounted on a pole", "painted red".
const AFTER_A_STATE: &str = "\
    above across against along around at behind beside between bright by down for from in into near of off on onto \
    out over red through to under up upright white with without";
const PREPOSITIONS: &str = "at behind beside between near on over under in made next often usually";
const PARTICIPLES: &str = "held hung laid set spread seen shown worn built cut";

/// "which has" or "which is", whatever the description goes on with.
fn link(description: &str, plural: bool) -> &'static str {
    let mut words = description.split_whitespace();
    let first = words.next().unwrap_or_default();
    let second = words.next().unwrap_or_default();
    let participle = first.ends_with("ing") || first.ends_with("ed") || is_listed(PARTICIPLES, first);
    let kind = matches!(first, "a" | "an" | "the");
    let state = kind || is_listed(PREPOSITIONS, first) || participle && is_listed(AFTER_A_STATE, second);
    match (state, plural) {
        (true, false) => "which is",
        (true, true) => "which are",
        (false, false) => "which has",
        (false, true) => "which have",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::knowledge::Source;

    pub(crate) fn knowledge() -> Arc<Knowledge> {
        let entity = |name: &str, frequency: u64, descriptions: &[&str]| Entity {
            frequency,
            ..Entity::described(name, descriptions.iter().copied(), Source::Llm)
        };
        let entities = vec![
            entity("dog", 900, &["four legs", "wagging tail", "floppy ears", "wet nose"]),
            entity("frisbee", 40, &["flat round plastic disc", "held in the mouth"]),
            entity("zeppelin", 0, &["huge silver hull"]),
        ];
        Arc::new(Knowledge::new(entities, "test").unwrap())
    }

    fn names(config: EntityConfig, text: &str) -> Vec<String> {
        let finder = EntityFinder::new(knowledge(), None, config);
        let found = finder.find(&[Query::new(text).unwrap()]).unwrap();
        found[0].iter().map(|found| found.entity.name.clone()).collect()
    }

    #[test]
    fn the_rarest_are_kept_in_the_order_of_the_query() {
        let text = "dogs chase a dog with a frisbee under a zeppelin";
        let all = EntityConfig::default();
        assert_eq!(names(all, text), ["dog", "frisbee", "zeppelin"]);
        assert_eq!(names(EntityConfig { max_entities: 2, ..all }, text), ["frisbee", "zeppelin"]);
        assert_eq!(names(EntityConfig { max_frequency: Some(10), ..all }, text), ["zeppelin"]);
    }

    #[test]
    fn descriptions_read_naturally() {
        for (description, expected) in [
            ("four legs", "which has"),
            ("held in the mouth", "which is"),
            ("hanging lamps", "which has"),
            ("painted bright red or yellow", "which is"),
            ("on a pole", "which is"),
            ("an aircraft carrier", "which is"),
        ] {
            assert_eq!(link(description, false), expected, "{description}");
        }
        assert_eq!(link("four legs", true), "which have");
    }
}
