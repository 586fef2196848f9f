//! DesCLIP: one text for each description of each entity, their embeddings averaged.
//!
//! Source: Menon and Vondrick, "Visual Classification via Description from Large Language Models" (2022), as EvdCLIP
//! compares it. For classes a text is "{class}, which has {description}"; a query is a sentence with several entities, so
//! that by default the sentence stays and the described entity follows it. `template = "entity"` is the original form.

use serde::{Deserialize, Serialize};

use super::entity_finder::{EntityFinder, FoundEntity, entity_trace};
use super::mix::{Mix, equally_weighted};
use super::open::{EnhancerContext, EnhancerTable};
use super::{EnhancedQuery, Query, QueryEnhancer};
use crate::error::Result;
use crate::index::Index;

/// What a text with a description holds beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// "{query}, {entity} which has {description}".
    #[default]
    Query,
    /// "{entity}, which has {description}".
    Entity,
}

/// The text for one description of an entity of `query`.
pub fn described(template: Template, query: &Query, found: &FoundEntity<'_>, description: &str) -> String {
    match template {
        Template::Query => format!("{}, {}", unfinished(query.text()), found.described(description)),
        Template::Entity => found.described(description).replacen(" which ", ", which ", 1),
    }
}

/// What `descriptions` can be set to beside what all enhancers of entities can.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DescriptionsConfig {
    /// What a text holds beside a description.
    pub template: Template,
}

/// The enhancer.
pub struct Descriptions {
    finder: EntityFinder,
    template: Template,
    mix: Mix,
}

impl Descriptions {
    /// Describes the entities of `finder`.
    pub fn new(finder: EntityFinder, template: Template, mix: Mix) -> Self {
        Self { finder, template, mix }
    }

    pub(super) fn open(table: &EnhancerTable, context: &EnhancerContext) -> Result<Self> {
        let (shared, own): (_, DescriptionsConfig) = table.parse_with_entities()?;
        Ok(Self::new(shared.finder(table, context)?, own.template, shared.mix))
    }

    fn texts(&self, query: &Query, found: &[FoundEntity<'_>]) -> Vec<String> {
        let pairs = found.iter().flat_map(|found| found.descriptions.iter().map(move |&text| (found, text)));
        let text = |(found, text): (&FoundEntity<'_>, &str)| described(self.template, query, found, text);
        pairs.map(text).collect()
    }
}

/// A sentence without the full stop at its end, so that it can go on.
pub(super) fn unfinished(text: &str) -> &str {
    text.trim_end_matches(|character: char| {
        character.is_whitespace() || matches!(character, '.' | '!' | ',' | ';')
    })
}

impl QueryEnhancer for Descriptions {
    fn name(&self) -> &str {
        "descriptions"
    }

    fn enhance_batch(&self, queries: &[Query], _: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        let found = self.finder.find(queries)?;
        let enhanced = queries.iter().zip(&found).map(|(query, found)| {
            let trace = entity_trace(found);
            self.mix.with_rewrites(query, equally_weighted(self.texts(query, found)), trace)
        });
        Ok(enhanced.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::enhance_text;
    use super::super::entity_finder::tests::knowledge;
    use super::super::entity_finder::{EntityConfig, EntityFinder};
    use super::*;

    fn texts(template: Template, query: &str) -> Vec<String> {
        let settings = EntityConfig { max_descriptions: 2, ..EntityConfig::default() };
        let finder = EntityFinder::new(knowledge(), None, settings);
        let enhancer = Descriptions::new(finder, template, Mix::default());
        let enhanced = enhance_text(&enhancer, query);
        enhanced.ensure_usable("descriptions").unwrap();
        enhanced.texts.into_iter().map(|text| text.text).collect()
    }

    #[test]
    fn every_description_has_a_text_beside_the_query() {
        assert_eq!(
            texts(Template::Query, "Two dogs and a frisbee ."),
            [
                "Two dogs and a frisbee .",
                "Two dogs and a frisbee, dogs which have four legs",
                "Two dogs and a frisbee, dogs which have wagging tail",
                "Two dogs and a frisbee, frisbee which has flat round plastic disc",
                "Two dogs and a frisbee, frisbee which is held in the mouth",
            ]
        );
        assert_eq!(
            texts(Template::Entity, "a zeppelin"),
            ["a zeppelin", "zeppelin, which has huge silver hull"]
        );
    }

    #[test]
    fn a_query_without_entities_stays() {
        assert_eq!(texts(Template::Query, "happiness"), ["happiness"]);
    }
}
