//! From queries to what the language model reads; training and search build prompts by the same code.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::Query;
use super::super::composer::preferences::{PREFERENCES_FILE, Preferences};
use super::super::entity_finder::{EntityFinder, FoundEntity};
use super::glosses::Glosses;
use super::settings::{DESCRIPTIONS_PLACE, PromptConfig, QUERY_PLACE};
use crate::embed::TextEmbedder;
use crate::embed::retriever::DEFAULT_MODEL;
use crate::english::{Vocabulary, vocabulary};
use crate::error::{Error, Result};
use crate::knowledge::{Knowledge, knowledge_base};
use crate::model_hub::bundled;

/// Fills a template.
pub struct PromptBuilder {
    template: String,
    finder: Option<EntityFinder>,
    glosses: Option<Glosses>,
}

impl PromptBuilder {
    /// A builder; `knowledge` is asked for only if the template has a place for descriptions, or words are glossed.
    ///
    /// # Errors
    /// [`Error::Enhancer`] for a template without the query; the knowledge base cannot be opened.
    pub fn new(
        settings: &PromptConfig,
        knowledge: impl FnOnce() -> Result<Arc<Knowledge>>,
        embedder: Option<Arc<dyn TextEmbedder>>,
    ) -> Result<Self> {
        if !settings.template.contains(QUERY_PLACE) {
            return Err(Error::Enhancer {
                enhancer: "rewriter".to_owned(),
                reason: format!(
                    "expected a template with {QUERY_PLACE} in it, found `{}`",
                    settings.template
                ),
            });
        }
        let template = settings.template.clone();
        let describes = template.contains(DESCRIPTIONS_PLACE);
        if !describes && settings.glosses.is_none() {
            return Ok(Self { template, finder: None, glosses: None });
        }
        let knowledge = knowledge()?;
        let finder = describes.then(|| EntityFinder::new(knowledge.clone(), embedder, settings.entities));
        let glosses = settings
            .glosses
            .map(|glosses| {
                let captions = bundled::model(knowledge_base::BUNDLED)?.join(vocabulary::BUNDLED_FILE);
                // A rewriter reads what it has learned to read, so that these are not the preferences of whatever
                // retriever is asked.
                let preferences = if glosses.in_place {
                    Preferences::open(&bundled::model(DEFAULT_MODEL)?.join(PREFERENCES_FILE))?
                } else {
                    Preferences::default()
                };
                let captions = Arc::new(Vocabulary::open(&captions)?);
                Ok::<_, Error>(Glosses::new(glosses, captions, knowledge, preferences))
            })
            .transpose()?;
        Ok(Self { template, finder, glosses })
    }

    /// What says what unfamiliar words mean, if the prompt has that.
    pub fn glosses(&self) -> Option<&Glosses> {
        self.glosses.as_ref()
    }

    /// The prompt of a text that stands in the query's place as it is, without descriptions.
    pub fn around(&self, text: &str) -> String {
        self.fill(text, "")
    }

    /// The prompts of queries, in order.
    ///
    /// # Errors
    /// The senses of entities cannot be told apart.
    pub fn prompts(&self, queries: &[Query]) -> Result<Vec<String>> {
        let Some(finder) = &self.finder else {
            return Ok(queries.iter().map(|query| self.fill(&self.glossed(query), "")).collect());
        };
        let found = finder.find(queries)?;
        let filled = |(query, found): (&Query, &Vec<FoundEntity<'_>>)| {
            self.fill(&self.glossed(query), &described(found))
        };
        Ok(queries.iter().zip(&found).map(filled).collect())
    }

    fn glossed<'a>(&self, query: &'a Query) -> Cow<'a, str> {
        match &self.glosses {
            Some(glosses) => Cow::Owned(glosses.of(query.text()).text()),
            None => Cow::Borrowed(query.text()),
        }
    }

    fn fill(&self, query: &str, descriptions: &str) -> String {
        // The query comes last: braces in it are text.
        let filled = self.template.replace(DESCRIPTIONS_PLACE, descriptions);
        filled.replacen(QUERY_PLACE, query, 1).trim().to_owned()
    }
}

/// "dog: four legs, wet nose; stair: handrail along one side".
fn described(found: &[FoundEntity<'_>]) -> String {
    let one =
        |entity: &FoundEntity<'_>| format!("{}: {}", entity.mention.surface, entity.descriptions.join(", "));
    let all: Vec<String> = found.iter().filter(|entity| !entity.descriptions.is_empty()).map(one).collect();
    all.join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::super::entity_finder::tests::knowledge;
    use super::*;

    fn prompt(template: &str, query: &str) -> String {
        let settings = PromptConfig { template: template.to_owned(), ..PromptConfig::default() };
        let builder = PromptBuilder::new(&settings, || Ok(knowledge()), None).unwrap();
        builder.prompts(&[Query::new(query).unwrap()]).unwrap().swap_remove(0)
    }

    #[test]
    fn the_query_stands_in_its_place_whatever_it_says() {
        assert_eq!(prompt("{query}", "a {descriptions} b"), "a {descriptions} b");
        assert_eq!(prompt("rewrite: {query} =>", "a dog"), "rewrite: a dog =>");
    }

    #[test]
    fn entities_are_described_where_the_template_asks_for_it() {
        let plain = prompt("{query} | {descriptions}", "nothing known");
        assert_eq!(plain, "nothing known |");
        let described = prompt("{query} | {descriptions}", "a zeppelin and a frisbee");
        assert_eq!(
            described,
            "a zeppelin and a frisbee | zeppelin: huge silver hull; frisbee: flat round plastic disc, held in the mouth"
        );
    }

    #[test]
    fn a_template_without_the_query_is_refused() {
        let settings = PromptConfig { template: "rewrite".to_owned(), ..PromptConfig::default() };
        assert!(PromptBuilder::new(&settings, || Ok(knowledge()), None).is_err());
    }
}
