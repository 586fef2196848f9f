//! The knowledge base of the home directory, as requests read and change it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use relens::error::Result;
use relens::knowledge::knowledge_base::HOME_FILE;
use relens::knowledge::{Knowledge, KnowledgeStore};

/// Tells one state of the edited knowledge base from another; none while nobody has edited it.
pub(crate) type KnowledgeStamp = Option<(u64, SystemTime)>;

/// Where knowledge is read from and written to.
pub(crate) struct KnowledgeFiles {
    home: PathBuf,
    read: Mutex<Option<(KnowledgeStamp, Arc<Knowledge>)>>,
}

impl KnowledgeFiles {
    pub(crate) fn new(home: &Path) -> Self {
        Self { home: home.to_owned(), read: Mutex::default() }
    }

    fn edited(&self) -> PathBuf {
        self.home.join(HOME_FILE)
    }

    /// The state of the edited knowledge base, by which a change of any process is noticed.
    pub(crate) fn stamp(home: &Path) -> KnowledgeStamp {
        let metadata = std::fs::metadata(home.join(HOME_FILE)).ok()?;
        Some((metadata.len(), metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)))
    }

    /// What searches use, read once for every state.
    ///
    /// # Errors
    /// Those of [`Knowledge::of_home`].
    pub(crate) fn current(&self) -> Result<Arc<Knowledge>> {
        let stamp = Self::stamp(&self.home);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, knowledge)) = read.as_ref()
            && *known == stamp
        {
            return Ok(knowledge.clone());
        }
        let knowledge = Arc::new(Knowledge::of_home(&self.home)?);
        *read = Some((stamp, knowledge.clone()));
        Ok(knowledge)
    }

    /// For changing: a copy of the bundled one if nobody has edited it yet.
    ///
    /// # Errors
    /// Those of [`KnowledgeStore::open_seeded`].
    pub(crate) fn store(&self) -> Result<KnowledgeStore> {
        KnowledgeStore::open_seeded(&self.edited(), || Ok(Knowledge::bundled()?.into_entities()))
    }

    /// For reading its history, if it has been edited.
    ///
    /// # Errors
    /// Those of [`KnowledgeStore::open_read_only`].
    pub(crate) fn existing_store(&self) -> Result<Option<KnowledgeStore>> {
        let path = self.edited();
        if path.is_file() { KnowledgeStore::open_read_only(&path).map(Some) } else { Ok(None) }
    }
}
