//! The tables, and how a database of this kind is told from any other file.

use std::path::Path;

use rusqlite::{Connection, Transaction};

use super::database_error;
use crate::error::{Error, Result};

/// Written into the file's header ("rEVD"), so that another program's database is not taken for a knowledge base.
const APPLICATION_ID: i32 = 0x7245_5644;
/// The version of the tables below.
const VERSION: u32 = 2;
/// The first version, which knew no words.
const WITHOUT_WORDS: u32 = 1;

const TABLES: &str = "
CREATE TABLE entities (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    visual INTEGER NOT NULL,
    -- The bits of a u64: SQLite knows no unsigned numbers.
    frequency INTEGER NOT NULL
);
CREATE TABLE aliases (
    alias TEXT PRIMARY KEY,
    entity INTEGER NOT NULL REFERENCES entities ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX aliases_of_entity ON aliases (entity);
CREATE TABLE senses (
    entity INTEGER NOT NULL REFERENCES entities ON DELETE CASCADE,
    position INTEGER NOT NULL,
    label TEXT,
    PRIMARY KEY (entity, position)
) WITHOUT ROWID;
CREATE TABLE descriptions (
    entity INTEGER NOT NULL REFERENCES entities ON DELETE CASCADE,
    sense INTEGER NOT NULL,
    position INTEGER NOT NULL,
    text TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (entity, sense, position)
) WITHOUT ROWID;
CREATE TABLE revisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    action TEXT NOT NULL,
    undoes INTEGER REFERENCES revisions,
    undone_by INTEGER REFERENCES revisions
);
CREATE TABLE changes (
    revision INTEGER NOT NULL REFERENCES revisions,
    entity TEXT NOT NULL,
    before TEXT,
    after TEXT,
    PRIMARY KEY (revision, entity)
) WITHOUT ROWID;
CREATE INDEX changes_of_entity ON changes (entity);
";

/// Words and their history, which version 2 brought.
const WORD_TABLES: &str = "
CREATE TABLE words (
    -- The word, with its language before it unless that is English: `de:hund`.
    key TEXT PRIMARY KEY,
    word TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE word_changes (
    revision INTEGER NOT NULL REFERENCES revisions,
    key TEXT NOT NULL,
    before TEXT,
    after TEXT,
    PRIMARY KEY (revision, key)
) WITHOUT ROWID;
CREATE INDEX word_changes_of_key ON word_changes (key);
";

/// Whether the database has its tables.
///
/// # Errors
/// [`Error::Corrupt`] if it is the database of another program, [`Error::NewerFormat`].
pub(super) fn check(connection: &Connection, path: &Path) -> Result<bool> {
    let number =
        |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i32>(0));
    let read = || Ok((number("application_id")?, number("user_version")?, number("schema_version")?));
    let (application, version, schema) = read().map_err(|error| database_error(path, error))?;
    match (application, u32::try_from(version).unwrap_or(u32::MAX)) {
        (APPLICATION_ID, VERSION | WITHOUT_WORDS) => Ok(true),
        (APPLICATION_ID, found) => {
            Err(Error::NewerFormat { path: path.to_owned(), found, supported: VERSION })
        }
        // Without tables and without an owner, it is a file that SQLite has just made.
        (0, 0) if schema == 0 => Ok(false),
        _ => Err(Error::Corrupt {
            path: path.to_owned(),
            expected: "a knowledge base".to_owned(),
            found: "the database of another program".to_owned(),
        }),
    }
}

/// Creates the tables.
pub(super) fn create(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(TABLES)?;
    transaction.execute_batch(WORD_TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)
}

/// Whether there are tables of words: an earlier version that is only read has none.
pub(super) fn has_words(connection: &Connection) -> rusqlite::Result<bool> {
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(u32::try_from(version).unwrap_or(0) > WITHOUT_WORDS)
}

/// Adds what earlier versions had not; everything that is there stays, its history too.
pub(super) fn bring_up_to_date(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    if has_words(transaction)? {
        return Ok(());
    }
    transaction.execute_batch(WORD_TABLES)?;
    transaction.pragma_update(None, "user_version", VERSION)
}
