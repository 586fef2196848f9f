//! Opening the knowledge base, and the error for a name that it does not have.

use anyhow::{Context, Result};
use relens::error::Error;
use relens::knowledge::knowledge_base::HOME_FILE;
use relens::knowledge::{Entity, Knowledge, KnowledgeStore};

use crate::library_location;

/// The knowledge base that searches use, for reading.
pub(super) fn knowledge() -> Result<Knowledge> {
    Ok(Knowledge::of_home(&library_location::home()?)?)
}

/// The user's own knowledge base, for changing: a copy of the bundled one if there was none yet.
pub(super) fn store() -> Result<KnowledgeStore> {
    let path = library_location::home()?.join(HOME_FILE);
    let bundled = || Ok(Knowledge::bundled()?.into_entities());
    KnowledgeStore::open_seeded(&path, bundled).with_context(|| format!("{} cannot be used", path.display()))
}

/// The user's own knowledge base if there is one.
pub(super) fn existing_store() -> Result<Option<KnowledgeStore>> {
    let path = library_location::home()?.join(HOME_FILE);
    if !KnowledgeStore::is_made(&path)? {
        return Ok(None);
    }
    Ok(Some(KnowledgeStore::open_read_only(&path)?))
}

/// How many names that look like the one asked for are offered.
const SIMILAR_NAMES: usize = 3;

/// The error for a name that is not there, with names like it.
pub(super) fn unknown_entity(name: &str, entities: &[Entity]) -> Error {
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
