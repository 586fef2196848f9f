//! The knowledge base in SQLite: one file, every edit with its history, safe with several writers.
//!
//! A [`KnowledgeStore`] is changed by revisions only. A revision holds, for every entity that it touches, what was
//! there before and what is there after, and is written in the transaction of the change itself: a process that is
//! killed leaves both or neither. Writers wait for each other.

mod history;
mod import;
mod rows;
mod schema;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

pub use history::{EntityChange, Revision};
pub use import::{ImportMode, ImportSummary};
pub use words::WordChange;

use super::entity::{Entity, Invalid};
use crate::error::{Error, Result};
use crate::sqlite_error;

/// How long a writer waits for another one before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A knowledge base on disk.
///
/// ```
/// use relens::knowledge::{Entity, KnowledgeStore, Source};
///
/// let directory = tempfile::tempdir()?;
/// let mut store = KnowledgeStore::open(&directory.path().join("evd.db"))?;
/// store.edit("add", "robot", |_| Ok(Some(Entity::described("robot", ["metal body"], Source::Person))))?;
/// store.edit("remove", "robot", |_| Ok(None))?;
/// store.undo(None)?;
/// assert!(store.entity("robot")?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct KnowledgeStore {
    connection: Connection,
    path: PathBuf,
}

impl KnowledgeStore {
    /// Opens the knowledge base at `path`, or creates an empty one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file is something else, [`Error::NewerFormat`], [`Error::NotWritable`], [`Error::Busy`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_seeded(path, || Ok(Vec::new()))
    }

    /// Opens the knowledge base at `path`, or creates one that begins with the entities of `seed`.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and those of `seed`.
    pub fn open_seeded(path: &Path, seed: impl FnOnce() -> Result<Vec<Entity>>) -> Result<Self> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs_err::create_dir_all(parent)?;
        }
        let connection = Connection::open(path).map_err(|error| database_error(path, error))?;
        let mut store = Self::configured(connection, path)?;
        if !store.has_tables()? {
            store.create(seed)?;
        } else if !store.has_words()? {
            store.transact(|transaction| {
                schema::bring_up_to_date(transaction).map_err(|error| database_error(path, error))
            })?;
        }
        Ok(store)
    }

    /// Opens an existing knowledge base for reading.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and if there is no such file.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        fs_err::metadata(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|error| database_error(path, error))?;
        let store = Self::configured(connection, path)?;
        if !store.has_tables()? {
            return Err(Error::Corrupt {
                path: path.to_owned(),
                expected: "a knowledge base".to_owned(),
                found: "an empty file".to_owned(),
            });
        }
        Ok(store)
    }

    fn configured(connection: Connection, path: &Path) -> Result<Self> {
        let configure = || {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // SQLite keeps them off for every new connection.
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.pragma_update(None, "synchronous", "FULL")
        };
        configure().map_err(|error| database_error(path, error))?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Whether the file has its tables. The numbers that tell are read in one transaction: another process may be creating
    /// the tables just now.
    fn has_tables(&self) -> Result<bool> {
        let snapshot =
            self.connection.unchecked_transaction().map_err(|error| database_error(&self.path, error))?;
        schema::check(&snapshot, &self.path)
    }

    fn create(&mut self, seed: impl FnOnce() -> Result<Vec<Entity>>) -> Result<()> {
        let path = self.path.clone();
        self.transact(|transaction| {
            // Another process may have created the tables while this one waited for the lock.
            if schema::check(transaction, &path)? {
                return Ok(());
            }
            schema::create(transaction).map_err(|error| database_error(&path, error))?;
            let entities = seed()?;
            let edit = history::Edit { transaction, path: &path };
            if !entities.is_empty() {
                import::import(&edit, "seed", &entities, ImportMode::Replace)?;
            }
            Ok(())
        })
    }

    /// Where it is stored.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All entities, sorted by name.
    ///
    /// # Errors
    /// [`Error::Database`] and its kind.
    pub fn entities(&self) -> Result<Vec<Entity>> {
        rows::read_all(&self.connection).map_err(|error| database_error(&self.path, error))
    }

    /// The entity of this name or alias.
    ///
    /// # Errors
    /// [`Error::Database`] and its kind.
    pub fn entity(&self, name: &str) -> Result<Option<Entity>> {
        let find = || match rows::read(&self.connection, name)? {
            Some(entity) => Ok(Some(entity)),
            None => match rows::name_of_alias(&self.connection, name)? {
                Some(owner) => rows::read(&self.connection, &owner),
                None => Ok(None),
            },
        };
        find().map_err(|error| database_error(&self.path, error))
    }

    /// Changes one entity. `edit` is given what is stored under `name` and returns what is to be stored instead; another
    /// name in it renames the entity, `None` removes it. Returns the revision, or `None` if nothing changed.
    ///
    /// # Errors
    /// Those of `edit`; [`Error::InvalidEntity`] if the entity or its names cannot be taken.
    pub fn edit(
        &mut self,
        action: &str,
        name: &str,
        edit: impl FnOnce(Option<Entity>) -> Result<Option<Entity>>,
    ) -> Result<Option<Revision>> {
        let path = self.path.clone();
        self.transact(|transaction| {
            let recorder = history::Edit { transaction, path: &path };
            let before = recorder.entity(name)?;
            let after = edit(before)?;
            let renamed = after.as_ref().filter(|after| after.name != name).map(|after| after.name.clone());
            let mut changes = Vec::new();
            match renamed {
                Some(new_name) => {
                    if recorder.entity(&new_name)?.is_some() {
                        return Err(invalid_entity(
                            &new_name,
                            "entity",
                            "a name that is free",
                            "an entity of this name",
                        ));
                    }
                    // A new name is a new entity to everybody who looks it up, so the old one goes in the same
                    // revision.
                    changes.push((name.to_owned(), None));
                    changes.push((new_name, after));
                }
                None => changes.push((name.to_owned(), after)),
            }
            recorder.apply(action, None, changes)
        })
    }

    /// Takes in many entities in one revision.
    ///
    /// # Errors
    /// [`Error::InvalidEntity`] if an entity or the names cannot be taken; then nothing has changed.
    pub fn import(&mut self, action: &str, entities: &[Entity], mode: ImportMode) -> Result<ImportSummary> {
        let path = self.path.clone();
        self.transact(|transaction| {
            import::import(&history::Edit { transaction, path: &path }, action, entities, mode)
        })
    }

    /// The latest revisions first, of one entity or of all.
    ///
    /// # Errors
    /// [`Error::Database`] and its kind.
    pub fn history(&self, entity: Option<&str>, limit: usize) -> Result<Vec<Revision>> {
        history::read(&self.connection, entity, limit).map_err(|error| database_error(&self.path, error))
    }

    /// What a revision changed.
    ///
    /// # Errors
    /// [`Error::Database`] and its kind; [`Error::Corrupt`].
    pub fn changes(&self, revision: i64) -> Result<Vec<EntityChange>> {
        history::changes(&self.connection, &self.path, revision)
    }

    /// Takes back a revision, or the latest that is not itself an undo and was not taken back. This is a revision too,
    /// and can be taken back in its turn.
    ///
    /// # Errors
    /// [`Error::CannotUndo`] if there is nothing to undo, or an entity has changed again since.
    pub fn undo(&mut self, revision: Option<i64>) -> Result<Revision> {
        let path = self.path.clone();
        self.transact(|transaction| history::Edit { transaction, path: &path }.undo(revision))
    }

    /// Runs `work` in a transaction that holds the write lock from its beginning.
    fn transact<T>(&mut self, work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T>) -> Result<T> {
        let path = &self.path;
        let transaction = self
            .connection
            // The lock is taken at once: a transaction that first reads and then writes could fail in the middle.
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| database_error(path, error))?;
        let result = work(&transaction)?;
        transaction.commit().map_err(|error| database_error(path, error))?;
        Ok(result)
    }
}

/// What a failed operation on the database at `path` means to the user.
fn database_error(path: &Path, error: rusqlite::Error) -> Error {
    sqlite_error::database_error(path, "a knowledge base", error)
}

fn invalid_entity(entity: &str, field: &str, expected: &str, found: &str) -> Error {
    let [entity, field, expected, found] = [entity, field, expected, found].map(str::to_owned);
    Error::InvalidEntity { entity, field, expected, found }
}

impl Entity {
    /// [`validate`](Entity::validate), as an error of the crate.
    ///
    /// # Errors
    /// [`Error::InvalidEntity`].
    pub fn ensure_valid(&self) -> Result<()> {
        let invalid = |Invalid { field, expected, found }| {
            let entity: String = self.name.chars().take(super::entity::MAX_NAME_CHARACTERS).collect();
            Error::InvalidEntity { entity, field, expected, found }
        };
        self.validate().map_err(invalid)
    }
}

#[cfg(test)]
mod tests;
