//! A knowledge base from recorded answers: entities and descriptions from a language model, frequencies from captions.
//!
//! EvdCLIP, section 3.2: entities are collected from training captions, rare ones dropped, descriptions generated once
//! and stored.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use relens_models::regular_file::{self, FileKind};

use super::entity::Entity;
use crate::error::{Error, Result};
use crate::knowledge::knowledge_base::Knowledge;

/// Other names of entities, by the entity's name.
pub type Aliases = BTreeMap<String, Vec<String>>;

/// Reads a JSON file of `{"entity": ["alias", …], …}`.
///
/// # Errors
/// [`Error::Dataset`] naming the field; [`Error::Io`].
pub fn read_aliases(path: &Path) -> Result<Aliases> {
    let text = regular_file::read_to_string(path, FileKind::Records)?;
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| Error::Dataset {
        path: path.to_owned(),
        location: format!("field `{}`", error.path()),
        expected: "{\"entity\": [\"alias\", …], …}".to_owned(),
        found: error.inner().to_string(),
    })
}

/// Gives entities their aliases and their frequency in captions, and drops those that are met fewer than `floor` times.
/// What is not visual is kept, so that it is not judged again.
///
/// # Errors
/// [`Error::UnknownEntity`] for aliases of an entity that is not there; [`Error::InvalidEntity`] for names that do not
/// fit together.
pub fn build<'a>(
    entities: Vec<Entity>,
    aliases: &Aliases,
    captions: impl IntoIterator<Item = &'a str>,
    floor: u64,
) -> Result<Vec<Entity>> {
    let mut entities: Vec<Entity> = entities.into_iter().map(Entity::normalised).collect();
    let positions: HashMap<String, usize> =
        entities.iter().enumerate().map(|(position, entity)| (entity.name.clone(), position)).collect();
    for (name, names) in aliases {
        let position = positions.get(name.as_str()).copied();
        let entity = position
            .and_then(|position| entities.get_mut(position))
            .ok_or_else(|| Error::UnknownEntity { name: name.clone(), similar: Vec::new() })?;
        entity.aliases.extend(names.iter().cloned());
        *entity = std::mem::replace(entity, Entity::not_visual("")).normalised();
    }
    let knowledge = Knowledge::new(entities, "the records")?;
    let mut counts = vec![0u64; knowledge.entities().len()];
    for caption in captions {
        for mention in knowledge.find(caption) {
            if let Some(count) = counts.get_mut(mention.entity) {
                *count += 1;
            }
        }
    }
    let counted = knowledge.into_entities().into_iter().zip(counts);
    let counted = counted.map(|(entity, frequency)| Entity { frequency, ..entity });
    let mut kept: Vec<Entity> =
        counted.filter(|entity| !entity.visual || entity.frequency >= floor).collect();
    kept.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::Source;

    fn entities() -> Vec<Entity> {
        let mut entities: Vec<Entity> =
            ["dog", "bicycle", "zeppelin"].map(|name| Entity::described(name, ["x"], Source::Llm)).into();
        entities.push(Entity::not_visual("luck"));
        entities
    }

    #[test]
    fn mentions_by_any_name_are_counted_and_the_rare_dropped() {
        let aliases = Aliases::from([("bicycle".to_owned(), vec!["bike".to_owned()])]);
        let captions = ["Two dogs on bikes", "a dog, good luck"];
        let built = build(entities(), &aliases, captions, 1).unwrap();
        let frequencies: Vec<(&str, u64)> =
            built.iter().map(|entity| (entity.name.as_str(), entity.frequency)).collect();
        assert_eq!(frequencies, [("bicycle", 1), ("dog", 2), ("luck", 0)]);
        assert_eq!(built[0].aliases, ["bike"]);
        assert_eq!(build(entities(), &aliases, captions, 0).unwrap().len(), 4);
    }

    #[test]
    fn aliases_of_nothing_are_refused() {
        let aliases = Aliases::from([("ship".to_owned(), vec!["boat".to_owned()])]);
        let error = build(entities(), &aliases, [], 0).unwrap_err().to_string();
        assert_eq!(error, "the knowledge base has no entity `ship`");
        let aliases = Aliases::from([("bicycle".to_owned(), vec!["dog".to_owned()])]);
        assert!(build(entities(), &aliases, [], 0).unwrap_err().to_string().contains("the entity `dog`"));
    }
}
