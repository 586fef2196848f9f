//! Plain aggregation: the query and all descriptions of its entities in one text.
//!
//! This is what EvdCLIP's figure 2 warns of: it reads badly, and a description that the picture does not show cannot be
//! averaged away. It is here to be compared with.

use crate::enhancer::descriptions::unfinished;
use crate::enhancer::entity_finder::{EntityFinder, FoundEntity};
use crate::enhancer::mix::{Mix, alike};
use crate::enhancer::{EnhancedQuery, Query, QueryEnhancer};
use crate::error::Result;

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

    fn enhance(&self, query: &Query) -> Result<EnhancedQuery> {
        crate::enhancer::single(self.enhance_batch(std::slice::from_ref(query))?, self.name())
    }

    fn enhance_batch(&self, queries: &[Query]) -> Result<Vec<EnhancedQuery>> {
        let found = self.finder.find(queries)?;
        let enhanced = queries.iter().zip(&found).map(|(query, found)| {
            let texts = text(query, found).into_iter().collect();
            self.mix.with_rewrites(query, alike(texts), crate::enhancer::entity_trace(found))
        });
        Ok(enhanced.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enhancer::entity_finder::EntitySettings;
    use crate::enhancer::entity_finder::tests::knowledge;

    #[test]
    fn all_descriptions_are_in_one_text() {
        let settings = EntitySettings { max_descriptions: 2, ..EntitySettings::default() };
        let enhancer = Concat::new(EntityFinder::new(knowledge(), None, settings), Mix::default());
        let enhanced = enhancer.enhance(&Query::new("a dog with a frisbee.").unwrap()).unwrap();
        assert_eq!(
            enhanced.texts[1].text,
            "a dog with a frisbee, dog which has four legs, wagging tail; \
             frisbee which has flat round plastic disc, held in the mouth"
        );
        assert_eq!(enhancer.enhance(&Query::new("luck").unwrap()).unwrap().texts.len(), 1);
    }
}
