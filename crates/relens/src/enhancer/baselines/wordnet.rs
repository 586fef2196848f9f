//! DetCLIP: every entity with its WordNet definition.
//!
//! Source: Yao et al., "DetCLIP: Dictionary-Enriched Visual-Concept Paralleled Pre-training for Open-world Detection"
//! (2022), as EvdCLIP compares it. Definitions say what a thing is, hardly what it looks like.

use std::path::PathBuf;

use serde::Deserialize;

use crate::enhancer::descriptions::unfinished;
use crate::enhancer::entity_finder::{EntityFinder, FoundEntity};
use crate::enhancer::mix::{Mix, equally_weighted};
use crate::enhancer::open::{EnhancerContext, EnhancerTable};
use crate::enhancer::{EnhancedQuery, Query, QueryEnhancer, TraceEntry};
use crate::error::Result;
use crate::index::Index;
use crate::knowledge::wordnet::WordNet;

/// What `wordnet` can be set to beside what all enhancers of entities can.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WordNetConfig {
    /// Where the dictionary files are; default: where Debian puts them.
    pub directory: Option<PathBuf>,
}

/// The enhancer. The knowledge base says which words are visual entities, WordNet what they mean.
pub struct WordNetDefinitions {
    finder: EntityFinder,
    wordnet: WordNet,
    mix: Mix,
}

impl WordNetDefinitions {
    /// Defines the entities of `finder`.
    pub fn new(finder: EntityFinder, wordnet: WordNet, mix: Mix) -> Self {
        Self { finder, wordnet, mix }
    }

    pub(in crate::enhancer) fn open(table: &EnhancerTable, context: &EnhancerContext) -> Result<Self> {
        let (shared, own): (_, WordNetConfig) = table.parse_with_entities()?;
        let wordnet = table.wordnet(own.directory.as_ref())?;
        Ok(Self::new(shared.finder(table, context)?, wordnet, shared.mix))
    }

    fn enhance_found(&self, query: &Query, found: &[FoundEntity<'_>]) -> Result<EnhancedQuery> {
        let mut defined = Vec::new();
        let mut trace = Vec::new();
        for found in found {
            let Some(definition) = self.wordnet.define(&found.entity.name)? else { continue };
            defined.push(format!("{}, {}", found.mention.surface, definition.text));
            trace.push(TraceEntry::EntityFound {
                surface: found.mention.surface.clone(),
                entity: definition.lemma,
                sense: None,
                descriptions: vec![definition.text],
            });
        }
        let text = format!("{}. {}", unfinished(query.text()), defined.join(". "));
        let texts = if defined.is_empty() { Vec::new() } else { vec![text] };
        Ok(self.mix.with_rewrites(query, equally_weighted(texts), trace))
    }
}

impl QueryEnhancer for WordNetDefinitions {
    fn name(&self) -> &str {
        "wordnet"
    }

    fn enhance_batch(&self, queries: &[Query], _: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        let found = self.finder.find(queries)?;
        queries.iter().zip(&found).map(|(query, found)| self.enhance_found(query, found)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enhancer::enhance_text;
    use crate::enhancer::entity_finder::EntityConfig;
    use crate::enhancer::entity_finder::tests::knowledge;

    #[test]
    fn entities_are_defined_and_unknown_ones_left_out() {
        let directory = crate::knowledge::wordnet::tests::dictionary();
        let wordnet = WordNet::open(directory.path()).unwrap();
        let finder = EntityFinder::new(knowledge(), None, EntityConfig::default());
        let enhancer = WordNetDefinitions::new(finder, wordnet, Mix::default());
        let enhanced = enhance_text(&enhancer, "dogs with a frisbee.");
        assert_eq!(enhanced.texts[1].text, "dogs with a frisbee. dogs, a barking animal; often kept");
        assert_eq!(enhanced.trace.len(), 1);
        assert_eq!(enhance_text(&enhancer, "a frisbee").texts.len(), 1);
    }
}
