//! LaBo: which descriptions are worth their place, and how much each counts.
//!
//! Source: Yang et al., "Language in a Bottle" (2023), section 3.2, as EvdCLIP compares it. A set S of an entity's
//! descriptions is worth
//!
//! ```text
//! F(S) = α·Σ_{d∈S} D(d) + β·Σ_{d'} max_{d∈S} φ(d', d)
//! ```
//!
//! D: how much a description tells (its mutual information with the pictures of the entity); φ: how similar two
//! descriptions are, so that the second sum rewards a choice that covers them all. F is monotone and submodular: greedy
//! choice is within 1 − 1/e of the best. Weights of descriptions are learned with the retriever frozen.
//!
//! Information and weights come from a file, by default the bundled one (stage `selection` learns them); a description that it does not name counts as the file's average, and
//! without a file all count alike and φ is the share of words in common.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use relens_models::regular_file::{self, FileKind};
use serde::{Deserialize, Serialize};

use crate::enhancer::descriptions::{Template, described};
use crate::enhancer::entity_finder::{EntityFinder, FoundEntity};
use crate::enhancer::mix::Mix;
use crate::enhancer::open::{EnhancerContext, EnhancerTable};
use crate::enhancer::{EnhancedQuery, Query, QueryEnhancer, TraceEntry, WeightedText};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::knowledge::knowledge_base;
use crate::model_hub::bundled;

/// How descriptions are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionChoice {
    /// How many descriptions of each entity; default 2.
    pub count: usize,
    /// What information counts, α; default 1.
    pub information: f32,
    /// What coverage counts, β; default 1.
    pub coverage: f32,
}

impl Default for SelectionChoice {
    fn default() -> Self {
        Self { count: 2, information: 1.0, coverage: 1.0 }
    }
}

/// What is known of one description.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescriptionValue {
    /// Its mutual information with the pictures of its entity, in nats; at least 0.
    pub information: f32,
    /// How much it counts beside the others; at least 0.
    pub weight: f32,
}

/// Learned values: entity → description → value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DescriptionValues {
    entities: BTreeMap<String, BTreeMap<String, DescriptionValue>>,
}

impl DescriptionValues {
    /// Reads a JSON file of `{entity: {description: {"information", "weight"}}}`.
    ///
    /// # Errors
    /// [`Error::Dataset`] naming the field; [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let text = regular_file::read_to_string(path, FileKind::Records)?;
        let fault = |location: String, expected: &str, found: String| Error::Dataset {
            path: path.to_owned(),
            location,
            expected: expected.to_owned(),
            found,
        };
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        let values: Self = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            fault(
                format!("field `{}`", error.path()),
                "{entity: {description: values}}",
                error.inner().to_string(),
            )
        })?;
        for (entity, descriptions) in &values.entities {
            let usable = |number: f32| number.is_finite() && number >= 0.0;
            let bad =
                descriptions.iter().find(|(_, value)| !(usable(value.information) && usable(value.weight)));
            if let Some((description, value)) = bad {
                let location = format!("entity `{entity}`, description `{description}`");
                return Err(fault(location, "finite values of at least 0", format!("{value:?}")));
            }
        }
        Ok(values)
    }

    /// Records what is known of a description.
    pub fn insert(&mut self, entity: &str, description: &str, value: DescriptionValue) {
        self.entities.entry(entity.to_owned()).or_default().insert(description.to_owned(), value);
    }

    /// What is known of a description.
    pub fn get(&self, entity: &str, description: &str) -> Option<DescriptionValue> {
        self.entities.get(entity)?.get(description).copied()
    }

    fn average(&self) -> DescriptionValue {
        let all: Vec<&DescriptionValue> = self.entities.values().flat_map(BTreeMap::values).collect();
        if all.is_empty() {
            return DescriptionValue { information: 1.0, weight: 1.0 };
        }
        let mean = |of: fn(&DescriptionValue) -> f32| {
            all.iter().map(|value| of(value)).sum::<f32>() / all.len() as f32
        };
        DescriptionValue { information: mean(|value| value.information), weight: mean(|value| value.weight) }
    }
}

/// The values that come with relens, learned for the bundled knowledge base and retriever; none if it comes without.
///
/// # Errors
/// Those of [`DescriptionValues::open`].
pub fn bundled_values() -> Result<DescriptionValues> {
    let path = bundled::model(knowledge_base::BUNDLED)?.join("values.json");
    if path.is_file() { DescriptionValues::open(&path) } else { Ok(DescriptionValues::default()) }
}

/// Greedy maximisation of F: the positions chosen, in the order in which they were.
///
/// # Shapes
/// - `information`: `[n]`, at least 0
/// - `similarity(i, j)`: for i and j below n, at least 0
pub fn choose(
    information: &[f32],
    similarity: impl Fn(usize, usize) -> f32,
    choice: SelectionChoice,
) -> Vec<usize> {
    let count = information.len();
    let mut covered = vec![0.0f32; count];
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < choice.count.min(count) {
        let gain = |candidate: usize| {
            let coverage: f32 =
                (0..count).map(|other| (similarity(other, candidate) - covered[other]).max(0.0)).sum();
            choice.information * information[candidate] + choice.coverage * coverage
        };
        let open = (0..count).filter(|candidate| !chosen.contains(candidate));
        let best = open
            .map(|candidate| (candidate, gain(candidate)))
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some((best, _)) = best else { break };
        for (other, covered) in covered.iter_mut().enumerate() {
            *covered = covered.max(similarity(other, best));
        }
        chosen.push(best);
    }
    chosen
}

/// The share of words that two descriptions have in common (Jaccard).
fn words_in_common(left: &str, right: &str) -> f32 {
    let [left, right] = [left, right].map(|text| text.split_whitespace().collect::<BTreeSet<_>>());
    let together = left.union(&right).count();
    if together == 0 { 0.0 } else { left.intersection(&right).count() as f32 / together as f32 }
}

/// What `selection` can be set to beside what all enhancers of entities can. All descriptions are chosen from, whatever
/// `max_descriptions` says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionConfig {
    /// Learned values of descriptions; default: the bundled ones.
    pub values: Option<PathBuf>,
    /// What a text holds beside a description.
    pub template: Template,
    /// How descriptions are chosen.
    pub choice: SelectionChoice,
}

/// The enhancer: the chosen descriptions, each in a text with the query, weighted.
pub struct Selection {
    finder: EntityFinder,
    template: Template,
    values: DescriptionValues,
    average: DescriptionValue,
    choice: SelectionChoice,
    mix: Mix,
}

impl Selection {
    /// Chooses among all descriptions that `finder` finds.
    pub fn new(
        finder: EntityFinder,
        template: Template,
        values: DescriptionValues,
        choice: SelectionChoice,
        mix: Mix,
    ) -> Self {
        let average = values.average();
        Self { finder, template, values, average, choice, mix }
    }

    pub(in crate::enhancer) fn open(table: &EnhancerTable, context: &EnhancerContext) -> Result<Self> {
        let (mut shared, own): (_, SelectionConfig) = table.parse_with_entities()?;
        let values = match &own.values {
            Some(path) => DescriptionValues::open(&table.path(path))?,
            None => bundled_values()?,
        };
        shared.entities.max_descriptions = usize::MAX;
        Ok(Self::new(shared.finder(table, context)?, own.template, values, own.choice, shared.mix))
    }

    fn chosen<'a>(&self, found: &FoundEntity<'a>) -> Vec<(&'a str, f32)> {
        let value = |text: &str| self.values.get(&found.entity.name, text).unwrap_or(self.average);
        let information: Vec<f32> = found.descriptions.iter().map(|text| value(text).information).collect();
        let similarity = |i: usize, j: usize| words_in_common(found.descriptions[i], found.descriptions[j]);
        let chosen = choose(&information, similarity, self.choice);
        chosen
            .into_iter()
            .map(|position| found.descriptions[position])
            .map(|text| (text, value(text).weight))
            .collect()
    }

    fn enhance_found(&self, query: &Query, found: &[FoundEntity<'_>]) -> EnhancedQuery {
        let mut texts = Vec::new();
        let mut trace = Vec::new();
        for found in found {
            let chosen = self.chosen(found);
            texts.extend(chosen.iter().map(|&(description, weight)| WeightedText {
                text: described(self.template, query, found, description),
                weight,
            }));
            trace.push(TraceEntry::EntityFound {
                surface: found.mention.surface.clone(),
                entity: found.entity.name.clone(),
                sense: found.sense.map(str::to_owned),
                descriptions: chosen
                    .iter()
                    .map(|(text, weight)| format!("{text} (weight {weight:.2})"))
                    .collect(),
            });
        }
        self.mix.with_rewrites(query, texts, trace)
    }
}

impl QueryEnhancer for Selection {
    fn name(&self) -> &str {
        "selection"
    }

    fn enhance_batch(&self, queries: &[Query], _: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        let found = self.finder.find(queries)?;
        Ok(queries.iter().zip(&found).map(|(query, found)| self.enhance_found(query, found)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::enhancer::enhance_text;
    use crate::enhancer::entity_finder::EntityConfig;
    use crate::enhancer::entity_finder::tests::knowledge;

    fn worth(set: &[usize], information: &[f32], similarity: &[Vec<f32>]) -> f32 {
        let covered = |other: usize| set.iter().map(|&one| similarity[other][one]).fold(0.0, f32::max);
        set.iter().map(|&one| information[one]).sum::<f32>()
            + (0..information.len()).map(covered).sum::<f32>()
    }

    proptest! {
        #[test]
        fn the_greedy_choice_is_within_its_bound_of_the_best(
            values in prop::collection::vec(prop::collection::vec(0.0f32..1.0, 7), 2..7)
        ) {
            let count = values.len();
            let information: Vec<f32> = values.iter().map(|row| row[6]).collect();
            let settings = SelectionChoice { count: 2, ..SelectionChoice::default() };
            let chosen = choose(&information, |i, j| values[i][j], settings);
            prop_assert_eq!(chosen.len(), 2);
            let pairs = (0..count).flat_map(|i| (0..count).filter(move |&j| j != i).map(move |j| [i, j]));
            let best = pairs.map(|pair| worth(&pair, &information, &values)).fold(0.0, f32::max);
            prop_assert!(worth(&chosen, &information, &values) >= (1.0 - 1.0 / std::f32::consts::E) * best - 1e-5);
        }
    }

    #[test]
    fn a_choice_covers_and_informs() {
        let similar = |i: usize, j: usize| if i == j || i + j == 1 { 1.0 } else { 0.0 };
        let settings = SelectionChoice { count: 2, ..SelectionChoice::default() };
        // 0 and 1 say the same: after one of them, 2 is worth more.
        assert_eq!(choose(&[0.1, 0.2, 0.1], similar, settings), [1, 2]);
        assert_eq!(choose(&[0.1, 0.2, 0.9], similar, SelectionChoice { coverage: 0.0, ..settings }), [2, 1]);
        assert_eq!(choose(&[], similar, settings), Vec::<usize>::new());
    }

    #[test]
    fn learned_values_decide() {
        let finder = EntityFinder::new(
            knowledge(),
            None,
            EntityConfig { max_descriptions: 9, ..EntityConfig::default() },
        );
        let mut values = DescriptionValues::default();
        for (description, information, weight) in [
            ("wet nose", 5.0, 3.0),
            ("four legs", 4.0, 1.0),
            ("wagging tail", 0.0, 0.0),
            ("floppy ears", 0.0, 0.0),
        ] {
            values.insert("dog", description, DescriptionValue { information, weight });
        }
        let mix = Mix { original_share: 0.5, ..Mix::default() };
        let selection = Selection::new(finder, Template::Query, values, SelectionChoice::default(), mix);
        let enhanced = enhance_text(&selection, "a dog");
        let texts: Vec<(&str, f32)> =
            enhanced.texts.iter().map(|text| (text.text.as_str(), text.weight)).collect();
        assert_eq!(
            texts,
            [
                ("a dog", 0.5),
                ("a dog, dog which has wet nose", 0.375),
                ("a dog, dog which has four legs", 0.125)
            ]
        );
    }

    #[test]
    fn values_that_mean_nothing_are_refused_with_their_place() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = |text: &str| {
            fs_err::write(file.path(), text).unwrap();
            DescriptionValues::open(file.path()).unwrap_err().to_string()
        };
        assert!(message(r#"{"dog": {"a": {"weight": 1}}}"#).contains("field `dog.a`"));
        assert!(
            message(r#"{"dog": {"a": {"information": 1, "weight": -1}}}"#)
                .contains("entity `dog`, description `a`")
        );
    }
}
