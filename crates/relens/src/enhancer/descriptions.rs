//! DesCLIP: one text for each description of each entity, their embeddings averaged.
//!
//! Source: Menon and Vondrick, "Visual Classification via Description from Large Language Models" (2022), as EvdCLIP
//! compares it. For classes a text is "{class}, which has {description}"; a query is a sentence with several entities, so
//! that by default the sentence stays and the described entity follows it. `template = "entity"` is the original form.

use serde::{Deserialize, Serialize};

use super::entity_finder::{EntityFinder, FoundEntity};
use super::mix::{Mix, alike};
use super::{EnhancedQuery, Query, QueryEnhancer};
use crate::error::Result;

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

    fn enhance(&self, query: &Query) -> Result<EnhancedQuery> {
        super::single(self.enhance_batch(std::slice::from_ref(query))?, self.name())
    }

    fn enhance_batch(&self, queries: &[Query]) -> Result<Vec<EnhancedQuery>> {
        let found = self.finder.find(queries)?;
        let enhanced = queries.iter().zip(&found).map(|(query, found)| {
            let trace = super::entity_trace(found);
            self.mix.with_rewrites(query, alike(self.texts(query, found)), trace)
        });
        Ok(enhanced.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::entity_finder::tests::knowledge;
    use super::super::entity_finder::{EntityFinder, EntitySettings};
    use super::*;

    fn texts(template: Template, query: &str) -> Vec<String> {
        let settings = EntitySettings { max_descriptions: 2, ..EntitySettings::default() };
        let finder = EntityFinder::new(knowledge(), None, settings);
        let enhancer = Descriptions::new(finder, template, Mix::default());
        let enhanced = enhancer.enhance(&Query::new(query).unwrap()).unwrap();
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
