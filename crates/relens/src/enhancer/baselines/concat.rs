//! Plain aggregation: the query and all descriptions of its entities in one text.
//!
//! This is what EvdCLIP's figure 2 warns of: it reads badly, and a description that the picture does not show cannot be
//! averaged away. It is here to be compared with.

use serde::Deserialize;

use crate::enhancer::descriptions::unfinished;
use crate::enhancer::entity_finder::{EntityFinder, FoundEntity, entity_trace};
use crate::enhancer::mix::{Mix, equally_weighted};
use crate::enhancer::open::{EnhancerContext, EnhancerTable};
use crate::enhancer::{EnhancedQuery, Query, QueryEnhancer};
use crate::error::Result;
use crate::index::Index;

/// What `concat` can be set to beside what all enhancers of entities can: nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConcatConfig {}

/// The enhancer.
pub struct Concat {
    finder: EntityFinder,
    mix: Mix,
}

impl Concat {
    /// Describes the entities of `finder`.
    pub fn new(finder: EntityFinder, mix: Mix) -> Self {
        Self { finder, mix }
    }

    pub(in crate::enhancer) fn open(table: &EnhancerTable, context: &EnhancerContext) -> Result<Self> {
        let (shared, ConcatConfig {}) = table.parse_with_entities()?;
        Ok(Self::new(shared.finder(table, context)?, shared.mix))
    }
}

fn text(query: &Query, found: &[FoundEntity<'_>]) -> Option<String> {
    let described = found.iter().filter(|found| !found.descriptions.is_empty());
    let described: Vec<String> =
        described.map(|found| found.described(&found.descriptions.join(", "))).collect();
    (!described.is_empty()).then(|| format!("{}, {}", unfinished(query.text()), described.join("; ")))
}

impl QueryEnhancer for Concat {
    fn name(&self) -> &str {
        "concat"
    }

    fn enhance_batch(&self, queries: &[Query], _: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        let found = self.finder.find(queries)?;
        let enhanced = queries.iter().zip(&found).map(|(query, found)| {
            let texts = text(query, found).into_iter().collect();
            self.mix.with_rewrites(query, equally_weighted(texts), entity_trace(found))
        });
        Ok(enhanced.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enhancer::enhance_text;
    use crate::enhancer::entity_finder::EntityConfig;
    use crate::enhancer::entity_finder::tests::knowledge;

    #[test]
    fn all_descriptions_are_in_one_text() {
        let settings = EntityConfig { max_descriptions: 2, ..EntityConfig::default() };
        let enhancer = Concat::new(EntityFinder::new(knowledge(), None, settings), Mix::default());
        let enhanced = enhance_text(&enhancer, "a dog with a frisbee.");
        assert_eq!(
            enhanced.texts[1].text,
            "a dog with a frisbee, dog which has four legs, wagging tail; \
             frisbee which has flat round plastic disc, held in the mouth"
        );
        assert_eq!(enhance_text(&enhancer, "luck").texts.len(), 1);
    }
}
