//! What a large language model answered when asked about candidate nouns: JSON Lines of
//! `{"entity", "visual", "descriptions"?, "sense"?}`. A word of several senses has a line for each.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::entity::{Description, Entity, Sense, Source, normalise_name};
use super::json_lines::{invalid_line, parse_line};
use crate::dataset::text_lines::{broken_line, for_each_line};
use crate::error::Result;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntityAnswer {
    entity: String,
    visual: bool,
    #[serde(default)]
    descriptions: Vec<String>,
    sense: Option<String>,
}

/// Entities in the order in which they are met.
#[derive(Default)]
struct Collected {
    entities: Vec<Entity>,
    positions: HashMap<String, usize>,
}

impl Collected {
    fn add(&mut self, entity: Entity) {
        match self.positions.get(&entity.name).and_then(|&position| self.entities.get_mut(position)) {
            Some(known) => merge(known, entity),
            None => {
                self.positions.insert(entity.name.clone(), self.entities.len());
                self.entities.push(entity);
            }
        }
    }
}

/// The entities of answers that have just been given. What a model says of one candidate may be unusable (a visual entity
/// without a description, a whole paragraph as one); it is left out with a warning, so that the others count.
pub(super) fn assembled(records: impl IntoIterator<Item = EntityAnswer>) -> Vec<Entity> {
    let mut collected = Collected::default();
    for record in records {
        let descriptions = if record.visual { record.descriptions } else { Vec::new() };
        let entity = entity_of(EntityAnswer { descriptions, ..record });
        match entity.ensure_valid() {
            Ok(()) => collected.add(entity),
            Err(error) => tracing::warn!(%error, "an answer cannot be used"),
        }
    }
    collected.entities
}

/// Collects the entities of several record files, in the order in which they are met. An entity that is met again
/// gains the new senses, and the new descriptions of senses that it has; visual beats not visual.
///
/// # Errors
/// [`Error::Dataset`](crate::error::Error::Dataset) naming file, line and field; [`Error::Io`](crate::error::Error::Io).
pub fn read(paths: &[&Path]) -> Result<Vec<Entity>> {
    let mut collected = Collected::default();
    for &path in paths {
        for_each_line(path, |number, line| {
            let record: EntityAnswer = parse_line(path, number, line)?;
            if !record.visual && !record.descriptions.is_empty() {
                let found = format!("{} of them", record.descriptions.len());
                return Err(broken_line(path, number, "no descriptions, as it is not visual", &found));
            }
            let entity = entity_of(record);
            entity.validate().map_err(|invalid| invalid_line(path, number, &entity.name, &invalid))?;
            collected.add(entity);
            Ok(())
        })?;
    }
    Ok(collected.entities)
}

fn entity_of(record: EntityAnswer) -> Entity {
    let name = normalise_name(&record.entity);
    if !record.visual {
        return Entity::not_visual(&name);
    }
    let texts = record.descriptions.into_iter();
    let descriptions = texts.map(|text| Description { text, source: Source::Llm }).collect();
    let senses = vec![Sense { label: record.sense, descriptions }];
    Entity { senses, ..Entity { visual: true, ..Entity::not_visual(&name) } }.normalised()
}

/// What the sense without a label is called once the entity has another one.
const MAIN_SENSE: &str = "usual";

/// Adds what `new` knows to `known`. Descriptions without a sense belong to the entity's main sense, its first.
pub(super) fn merge(known: &mut Entity, new: Entity) {
    known.visual |= new.visual;
    known.frequency = known.frequency.max(new.frequency);
    known.aliases.extend(new.aliases);
    for sense in new.senses {
        let same = known.senses.iter().position(|have| have.label == sense.label);
        let main = (sense.label.is_none() && !known.senses.is_empty()).then_some(0);
        match same.or(main).and_then(|position| known.senses.get_mut(position)) {
            Some(have) => have.descriptions.extend(sense.descriptions),
            None => known.senses.push(sense),
        }
    }
    if known.senses.len() > 1 {
        for sense in known.senses.iter_mut().filter(|sense| sense.label.is_none()) {
            sense.label = Some(MAIN_SENSE.to_owned());
        }
    }
    *known = std::mem::replace(known, Entity::not_visual("")).normalised();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Entity>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), text).unwrap();
        read(&[file.path()])
    }

    #[test]
    fn lines_of_one_word_become_senses_of_one_entity() {
        let entities = read_text(concat!(
            "{\"entity\":\"bat\",\"visual\":true,\"sense\":\"animal\",\"descriptions\":[\"leathery wings\"]}\n",
            "{\"entity\":\"luck\",\"visual\":false}\n",
            "{\"entity\":\"bat\",\"visual\":true,\"sense\":\"sports\",\"descriptions\":[\"wooden club\"]}\n",
            "{\"entity\":\"bat\",\"visual\":true,\"sense\":\"sports\",\"descriptions\":[\"wooden club\",\"taped grip\"]}\n",
        ))
        .unwrap();
        assert_eq!(entities.len(), 2);
        assert_eq!(entities[0].senses.len(), 2);
        assert_eq!(entities[0].senses[1].descriptions.len(), 2);
        assert!(!entities[1].visual);
        assert!(entities.iter().all(|entity| entity.validate().is_ok()));
    }

    #[test]
    fn faults_name_the_line() {
        for (text, expected) in [
            (
                "{\"entity\":\"bat\",\"visual\":true}\n",
                "line 1, entity `bat`, field `senses[0].descriptions`",
            ),
            (
                "{\"entity\":\"a\",\"visual\":false,\"descriptions\":[\"b\"]}\n",
                "line 1: expected no descriptions",
            ),
            ("{\"entity\":\"a\",\"visual\":\"yes\"}\n", "line 1, field `visual`"),
        ] {
            let message = read_text(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
