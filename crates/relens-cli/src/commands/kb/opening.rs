//! Opening the knowledge base.

use anyhow::{Context, Result};
use relens::knowledge::knowledge_base::HOME_FILE;
use relens::knowledge::{Knowledge, KnowledgeStore};

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
