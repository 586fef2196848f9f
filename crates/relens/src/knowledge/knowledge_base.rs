//! A knowledge base in memory, with the lookup over its names.

use std::collections::HashMap;
use std::path::Path;

use relens_models::regular_file;

use super::entity::{Entity, Sense, normalise_name};
use super::json_lines::{self, NameCheck};
use super::lookup::{Lookup, Mention};
use super::store::KnowledgeStore;
use super::words::{self, Languages, Words};
use super::{descriptors, records};
use crate::error::{Error, Result};
use crate::model_hub::bundled;

/// The name of the bundled knowledge base among the bundled models.
pub const BUNDLED: &str = "evd";
/// The entities inside the bundled knowledge base's directory.
pub const BUNDLED_FILE: &str = bundled::KNOWLEDGE_FILE;
/// The knowledge base inside relens's home directory, once a person has edited it.
pub const HOME_FILE: &str = "evd.db";

/// Entities and how to find them in a text.
#[derive(Debug)]
pub struct Knowledge {
    entities: Vec<Entity>,
    by_name: HashMap<String, usize>,
    lookup: Lookup,
    words: Words,
    languages: Languages,
    source: String,
}

impl Knowledge {
    /// Takes over `entities`; `source` says in traces and errors where they come from.
    ///
    /// # Errors
    /// [`Error::InvalidEntity`] if an entity cannot be taken or names do not fit together.
    pub fn new(entities: Vec<Entity>, source: &str) -> Result<Self> {
        for entity in &entities {
            entity.ensure_valid()?;
        }
        NameCheck::default().all(&entities).map_err(|(position, invalid)| Error::InvalidEntity {
            entity: entities.get(position).map(|entity| entity.name.clone()).unwrap_or_default(),
            field: invalid.field,
            expected: invalid.expected,
            found: invalid.found,
        })?;
        let mut lookup = Lookup::new();
        let mut by_name = HashMap::new();
        // All names before all aliases: where both read the same once hyphens and cases are gone, the name wins.
        for (position, entity) in entities.iter().enumerate() {
            by_name.insert(entity.name.clone(), position);
            if entity.visual {
                lookup.insert(&entity.name, position);
            }
        }
        for (position, entity) in entities.iter().enumerate() {
            for alias in &entity.aliases {
                by_name.insert(alias.clone(), position);
                if entity.visual {
                    lookup.insert(alias, position);
                }
            }
        }
        Ok(Self {
            entities,
            by_name,
            lookup,
            words: Words::default(),
            languages: Languages::default(),
            source: source.to_owned(),
        })
    }

    /// Loads a knowledge base from a database (`.db`, whose words go before the bundled ones), our JSON Lines (`.jsonl`), a descriptor file (`.json`), or a
    /// directory with a `knowledge.jsonl` and, for the words, a `words.tsv` in it.
    ///
    /// # Errors
    /// Those of the formats.
    pub fn load(path: &Path) -> Result<Self> {
        let knowledge = Self::new(read_entities(path)?, &path.display().to_string())?;
        let words = read_words(path)?;
        // Words of other languages come with those of English.
        let languages = match words.is_empty() {
            true => Languages::default(),
            false if path.is_dir() => Languages::of_directory(path, words.taught_of_other_languages()),
            false => Languages::bundled(words.taught_of_other_languages())?,
        };
        Ok(Self { words, languages, ..knowledge })
    }

    /// The same with other words.
    #[must_use]
    pub fn with_words(self, words: Words) -> Self {
        Self { words, ..self }
    }

    /// What words mean that captions hardly use.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// The words of other languages.
    pub fn languages(&self) -> &Languages {
        &self.languages
    }

    /// The knowledge base that comes with relens.
    ///
    /// # Errors
    /// It is not there, or damaged.
    pub fn bundled() -> Result<Self> {
        Self::load(&bundled::model(BUNDLED)?)
    }

    /// The knowledge base of a home directory: its own where somebody has edited it, else the bundled one.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn of_home(home: &Path) -> Result<Self> {
        let own = home.join(HOME_FILE);
        if KnowledgeStore::is_made(&own)? { Self::load(&own) } else { Self::bundled() }
    }

    /// Where it comes from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// All entities.
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// Gives the entities away.
    pub fn into_entities(self) -> Vec<Entity> {
        self.entities
    }

    /// The entity of this name or alias.
    pub fn by_name(&self, name: &str) -> Option<&Entity> {
        let position = self.by_name.get(name).or_else(|| self.by_name.get(&normalise_name(name)))?;
        self.entities.get(*position)
    }

    /// The visual entities that `text` names, from left to right.
    pub fn find(&self, text: &str) -> Vec<Mention> {
        self.lookup.find(text)
    }

    /// The entity that a mention of [`find`](Self::find) names.
    ///
    /// # Panics
    /// If the mention is of another knowledge base.
    pub fn entity(&self, mention: &Mention) -> &Entity {
        &self.entities[mention.entity]
    }

    /// One sense of the entity that is mentioned, or its first if it has none of that number.
    ///
    /// # Panics
    /// If the mention is of another knowledge base.
    pub fn sense(&self, mention: &Mention, sense: usize) -> &Sense {
        let senses = &self.entity(mention).senses;
        senses.get(sense).unwrap_or(&senses[0])
    }
}

/// Reads the entities of a file in any of the formats that relens knows, by its ending and its first line.
///
/// # Errors
/// Those of the formats.
pub fn read_entities(path: &Path) -> Result<Vec<Entity>> {
    if path.is_dir() {
        return json_lines::read(&path.join(BUNDLED_FILE));
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("db") => KnowledgeStore::open_read_only(path)?.entities(),
        Some("json") => descriptors::read(path),
        _ if has_header(path)? => json_lines::read(path),
        _ => records::read(&[path]),
    }
}

/// The words beside the entities of `path`.
fn read_words(path: &Path) -> Result<Words> {
    if path.is_dir() {
        let file = path.join(words::BUNDLED_FILE);
        return if file.is_file() { Words::open(&file) } else { Ok(Words::default()) };
    }
    if path.extension().and_then(|extension| extension.to_str()) != Some("db") {
        return Ok(Words::default());
    }
    let edited = KnowledgeStore::open_read_only(path)?.words()?;
    Ok(read_words(&bundled::model(BUNDLED)?)?.with(edited))
}

/// Whether the file begins with the header of our format, and not with a record.
fn has_header(path: &Path) -> Result<bool> {
    let mut beginning = [0; 512];
    let read = std::io::Read::read(&mut regular_file::open(path)?, &mut beginning)?;
    let beginning = String::from_utf8_lossy(beginning.get(..read).unwrap_or_default());
    Ok(!beginning
        .lines()
        .next()
        .is_some_and(|line| line.contains("\"visual\"") && !line.contains("\"format\"")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::Source;

    #[test]
    fn aliases_lead_to_the_entity_and_what_is_not_visual_is_not_found() {
        let mut bicycle = Entity::described("bicycle", ["two wheels"], Source::Person);
        bicycle.aliases = vec!["bike".to_owned(), "push-bike".to_owned()];
        let knowledge = Knowledge::new(vec![bicycle, Entity::not_visual("luck")], "test").unwrap();
        let mentions = knowledge.find("Lucky bikes and a push bike, good luck");
        let surfaces: Vec<&str> = mentions.iter().map(|mention| mention.surface.as_str()).collect();
        assert_eq!(surfaces, ["bikes", "push bike"]);
        assert_eq!(knowledge.by_name("Bike").unwrap().name, "bicycle");
        assert!(knowledge.by_name("car").is_none());
        assert_eq!(knowledge.sense(&mentions[0], 7).descriptions[0].text, "two wheels");
    }

    #[test]
    fn names_that_do_not_fit_together_are_refused() {
        let twice = vec![Entity::not_visual("a"), Entity::not_visual("a")];
        let error = Knowledge::new(twice, "test").unwrap_err().to_string();
        assert_eq!(error, "entity `a`, field `entity`: expected a name that is there once, found `a` again");
    }

    #[test]
    fn the_bundled_knowledge_base_is_whole() {
        let directory = bundled::model(BUNDLED).unwrap();
        let bundled = Knowledge::bundled().unwrap();
        let visual = bundled.entities().iter().filter(|entity| entity.visual).count();
        assert!(visual >= 1500, "{visual} visual entities");
        let mut written = Vec::new();
        json_lines::write(bundled.entities(), &mut written).unwrap();
        assert!(
            written == fs_err::read(directory.join(BUNDLED_FILE)).unwrap(),
            "it is not in its canonical form"
        );
        let vocabulary =
            crate::english::Vocabulary::open(&directory.join(crate::english::vocabulary::BUNDLED_FILE))
                .unwrap();
        assert!(vocabulary.count("dog") > vocabulary.count("zebra"));
        let found =
            bundled.find("Three hot air balloons over a bike race, people in T-shirts and children's faces");
        let names: Vec<&str> = found.iter().map(|mention| bundled.entity(mention).name.as_str()).collect();
        assert_eq!(names, ["hot air balloon", "bike", "race", "people", "shirt", "child", "face"]);
    }
}
