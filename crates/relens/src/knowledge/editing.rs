//! What people do to one entity or word: add to it, change it, replace it, remove it.

use super::entity::normalise_name;
use super::store::Revision;
use super::words::Word;
use super::{Description, Entity, KnowledgeStore, Sense, Source};
use crate::error::{Error, Result};

/// What somebody says of an entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityDetails {
    /// What it is: other entities, whose descriptions it shares, or phrases.
    pub is: Vec<String>,
    /// What it has: descriptions that read naturally after "which has".
    pub has: Vec<String>,
    /// The sense that the descriptions belong to, made if it is new; default: the first.
    pub sense: Option<String>,
    /// Other names for it.
    pub aliases: Vec<String>,
}

/// What becomes of an entity that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityEdit {
    /// What it is and has; descriptions replace those of the sense.
    pub details: EntityDetails,
    /// Descriptions that are taken away.
    pub drop: Vec<String>,
    /// Aliases that are taken away.
    pub drop_aliases: Vec<String>,
    /// Its new name.
    pub rename: Option<String>,
}

impl EntityDetails {
    /// The descriptions in the order "is", "has"; those of an entity that it is follow its own.
    fn descriptions(&self, store: &KnowledgeStore) -> Result<Vec<Description>> {
        let by_person = |text: String| Description { text, source: Source::Person };
        let mut own: Vec<Description> = self.is.iter().map(|text| by_person(with_article(text))).collect();
        own.extend(self.has.iter().cloned().map(by_person));
        for kind in &self.is {
            let shared =
                store.entity(&normalise_name(kind))?.and_then(|entity| entity.senses.into_iter().next());
            own.extend(shared.map(|sense| sense.descriptions).unwrap_or_default());
        }
        Ok(own)
    }
}

/// "aircraft carrier" becomes "an aircraft carrier", so that it reads as what the entity is.
fn with_article(text: &str) -> String {
    let text = text.trim();
    let has_article = ["a ", "an ", "the "].iter().any(|article| text.to_lowercase().starts_with(article));
    match text.chars().next() {
        Some(_) if has_article => text.to_owned(),
        Some('a' | 'e' | 'i' | 'o' | 'u') => format!("an {text}"),
        Some(_) => format!("a {text}"),
        None => String::new(),
    }
}

/// The sense of a label, made if it is new; the first without one.
fn sense_of<'a>(entity: &'a mut Entity, label: Option<&str>) -> Option<&'a mut Sense> {
    let position = label.map_or(Some(0), |label| {
        entity.senses.iter().position(|sense| sense.label.as_deref() == Some(label))
    });
    let position = position.filter(|&position| position < entity.senses.len()).unwrap_or_else(|| {
        entity.senses.push(Sense { label: label.map(str::to_owned), descriptions: Vec::new() });
        entity.senses.len() - 1
    });
    entity.senses.get_mut(position)
}

impl KnowledgeStore {
    /// Adds an entity, or descriptions and aliases to one that is there. Returns the revision, or `None` if nothing
    /// changed.
    ///
    /// # Errors
    /// [`Error::InvalidEntity`] if nothing is said of a new entity, or what is said cannot be taken.
    pub fn add_details(&mut self, name: &str, details: EntityDetails) -> Result<Option<Revision>> {
        let descriptions = details.descriptions(self)?;
        let name = self.known_name(name)?;
        if descriptions.is_empty() && (details.aliases.is_empty() || self.entity(&name)?.is_none()) {
            return Err(Error::InvalidEntity {
                entity: name,
                field: "descriptions".to_owned(),
                expected: "what it has, or what it is".to_owned(),
                found: "neither".to_owned(),
            });
        }
        self.edit("add", &name, |entity| {
            let mut entity = entity.unwrap_or_else(|| Entity::not_visual(&name));
            entity.visual = true;
            entity.aliases.extend(details.aliases);
            if let Some(sense) = sense_of(&mut entity, details.sense.as_deref()) {
                sense.descriptions.extend(descriptions);
            }
            Ok(Some(entity))
        })
    }

    /// Changes an entity that is there, named by its name or an alias.
    ///
    /// # Errors
    /// [`Error::UnknownEntity`] with names that look like it; [`Error::InvalidEntity`] for what is dropped without being
    /// there, or cannot be taken.
    pub fn change_details(&mut self, name: &str, change: EntityEdit) -> Result<Option<Revision>> {
        let descriptions = change.details.descriptions(self)?;
        let known = match self.entity(&normalise_name(name))? {
            Some(entity) => entity.name,
            None => return Err(unknown_entity(name, &self.entities()?)),
        };
        self.edit("edit", &known, |entity| {
            entity.map(|entity| change.applied(name, entity, descriptions)).transpose()
        })
    }

    /// The name of the entity that has this name or alias; the name as it would be stored if there is none.
    ///
    /// # Errors
    /// [`Error::Database`] and its kind.
    pub fn known_name(&self, name: &str) -> Result<String> {
        let name = normalise_name(name);
        Ok(self.entity(&name)?.map_or(name, |entity| entity.name))
    }

    /// Puts an entity in the place of the one of a name or alias, or adds it. Descriptions that were there keep their
    /// source.
    ///
    /// # Errors
    /// [`Error::InvalidEntity`] if the entity or its names cannot be taken.
    pub fn replace_entity(&mut self, name: &str, entity: Entity) -> Result<Option<Revision>> {
        let known = self.known_name(name)?;
        let mut entity = entity.normalised();
        self.edit("edit", &known, |before| {
            let before: Vec<&Description> = before.iter().flat_map(Entity::descriptions).collect();
            for description in entity.senses.iter_mut().flat_map(|sense| &mut sense.descriptions) {
                if let Some(same) = before.iter().find(|before| before.text == description.text) {
                    description.source = same.source;
                }
            }
            Ok(Some(entity))
        })
    }

    /// Puts a word in the place of what was `known` of it. Meanings that were known keep their source.
    ///
    /// # Errors
    /// [`Error::InvalidEntity`] if the word cannot be taken.
    pub fn replace_word(&mut self, word: Word, known: Option<&Word>) -> Result<Option<Revision>> {
        let mut word = word.normalised();
        for meaning in &mut word.meanings {
            let mut before = known.iter().flat_map(|known| &known.meanings);
            if let Some(same) =
                before.find(|before| (&before.text, before.kind) == (&meaning.text, meaning.kind))
            {
                meaning.source = same.source;
            }
        }
        self.edit_words("edit", vec![(word.word.clone(), word.language.clone(), Some(word))])
    }

    /// Removes an entity by its name.
    ///
    /// # Errors
    /// [`Error::UnknownEntity`] with names that look like it.
    pub fn remove_entity(&mut self, name: &str) -> Result<Option<Revision>> {
        let known = normalise_name(name);
        if self.entity(&known)?.is_none_or(|entity| entity.name != known) {
            return Err(unknown_entity(name, &self.entities()?));
        }
        self.edit("remove", &known, |_| Ok(None))
    }
}

impl EntityEdit {
    fn applied(self, asked: &str, mut entity: Entity, descriptions: Vec<Description>) -> Result<Entity> {
        let missing = |field: &str, found: &str| Error::InvalidEntity {
            entity: asked.to_owned(),
            field: field.to_owned(),
            expected: "one that it has".to_owned(),
            found: format!("`{found}`"),
        };
        for alias in &self.drop_aliases {
            let alias = normalise_name(alias);
            let position = entity.aliases.iter().position(|have| *have == alias);
            entity.aliases.remove(position.ok_or_else(|| missing("aliases", &alias))?);
        }
        for text in &self.drop {
            let holds = |sense: &&mut Sense| sense.descriptions.iter().any(|have| have.text == *text);
            let sense = entity.senses.iter_mut().find(holds).ok_or_else(|| missing("descriptions", text))?;
            sense.descriptions.retain(|have| have.text != *text);
        }
        entity.senses.retain(|sense| !sense.descriptions.is_empty());
        entity.aliases.extend(self.details.aliases);
        if !descriptions.is_empty() {
            entity.visual = true;
            if let Some(sense) = sense_of(&mut entity, self.details.sense.as_deref()) {
                sense.descriptions = descriptions;
            }
        }
        if let Some(name) = &self.rename {
            entity.name = normalise_name(name);
        }
        Ok(entity)
    }
}

/// How many names that look like the one asked for are offered.
const SIMILAR_NAMES: usize = 3;

/// The error for a name that is not among `entities`, with names like it.
pub fn unknown_entity(name: &str, entities: &[Entity]) -> Error {
    let wanted = name.to_lowercase();
    let shares_word =
        |entity: &&Entity| wanted.split(' ').any(|word| entity.name.split(' ').any(|other| other == word));
    let near = |entity: &&Entity| {
        entity.name.starts_with(&wanted)
            || wanted.starts_with(entity.name.as_str()) && entity.name.len() > 2
            || shares_word(entity)
    };
    let similar = entities.iter().filter(near).take(SIMILAR_NAMES).map(|entity| format!("`{}`", entity.name));
    Error::UnknownEntity { name: name.to_owned(), similar: similar.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::words::{ENGLISH, Meaning, MeaningKind};

    fn has(texts: &[&str]) -> EntityDetails {
        EntityDetails { has: texts.iter().map(|&text| text.to_owned()).collect(), ..EntityDetails::default() }
    }

    fn texts(store: &KnowledgeStore, name: &str) -> Vec<String> {
        let entity = store.entity(name).unwrap().unwrap();
        entity.descriptions().map(|description| description.text.clone()).collect()
    }

    #[test]
    fn what_it_is_brings_its_descriptions_along() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = KnowledgeStore::open(&directory.path().join("evd.db")).unwrap();
        store.add_details("Aircraft Carrier", has(&["flat deck"])).unwrap().unwrap();
        let details = EntityDetails { is: vec!["aircraft carrier".to_owned()], ..has(&["ski-jump bow"]) };
        store.add_details("shandong ship", details).unwrap();
        assert_eq!(texts(&store, "shandong ship"), ["an aircraft carrier", "ski-jump bow", "flat deck"]);
        let error = store.add_details("nothing", EntityDetails::default()).unwrap_err();
        assert!(error.to_string().contains("what it has, or what it is"), "{error}");
    }

    #[test]
    fn what_is_replaced_keeps_who_wrote_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = KnowledgeStore::open(&directory.path().join("evd.db")).unwrap();
        let robot = Entity {
            aliases: vec!["android".to_owned()],
            ..Entity::described("robot", ["metal body", "two arms"], Source::Llm)
        };
        store.edit("add", "robot", |_| Ok(Some(robot))).unwrap();
        let replacement = Entity::described("Robot", ["metal  body", "red eyes"], Source::Person);
        store.replace_entity("Android", replacement).unwrap().unwrap();
        let entity = store.entity("robot").unwrap().unwrap();
        let sources: Vec<_> = entity.descriptions().map(|it| (it.text.as_str(), it.source)).collect();
        assert_eq!(sources, [("metal body", Source::Llm), ("red eyes", Source::Person)]);
        assert_eq!(store.known_name("Android ").unwrap(), "android", "its aliases were replaced, too");
    }

    #[test]
    fn meanings_that_were_known_keep_who_wrote_them() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = KnowledgeStore::open(&directory.path().join("evd.db")).unwrap();
        let word = |meanings: &[(&str, MeaningKind, Source)]| Word {
            word: "pooch".to_owned(),
            language: ENGLISH.to_owned(),
            meanings: meanings
                .iter()
                .map(|&(text, kind, source)| Meaning { text: text.to_owned(), kind, source })
                .collect(),
        };
        let known =
            word(&[("dog", MeaningKind::Name, Source::Llm), ("puppy", MeaningKind::Short, Source::Llm)]);
        let said = word(&[
            ("Dog.", MeaningKind::Name, Source::Person),
            ("puppy", MeaningKind::Name, Source::Person),
        ]);
        let revision = store.replace_word(said, Some(&known)).unwrap().unwrap();
        let change = store.word_changes(revision.id).unwrap().remove(0);
        let meanings = change.after.unwrap().meanings;
        assert_eq!(meanings.iter().map(|it| it.source).collect::<Vec<_>>(), [Source::Llm, Source::Person]);
    }

    #[test]
    fn an_entity_is_changed_and_removed_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = KnowledgeStore::open(&directory.path().join("evd.db")).unwrap();
        store.add_details("robot", has(&["metal body", "two arms"])).unwrap();
        let edit = EntityEdit { drop: vec!["two arms".to_owned()], ..EntityEdit::default() };
        store.change_details("robot", edit.clone()).unwrap();
        assert_eq!(texts(&store, "robot"), ["metal body"]);
        assert!(store.change_details("robot", edit).unwrap_err().to_string().contains("one that it has"));
        let unknown = store.remove_entity("robots and dogs").unwrap_err().to_string();
        assert!(unknown.contains("did you mean `robot`"), "{unknown}");
        assert!(store.remove_entity("robot").unwrap().is_some());
    }
}
