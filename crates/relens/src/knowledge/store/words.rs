//! Words that a person taught: what they changed of the bundled ones, with its history.
//!
//! A word without meanings is one that is to be left alone; a word that is not here is as it came with relens.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;

use super::history::{Edit, Revision};
use super::{KnowledgeStore, database_error, schema};
use crate::error::{Error, Result};
use crate::knowledge::entity::{Invalid, MAX_NAME_CHARACTERS};
use crate::knowledge::words::{Word, key};

/// What a revision did to one word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WordChange {
    /// The word, with its language before it unless that is English.
    pub word: String,
    /// What was there before; nothing if it was as it came.
    pub before: Option<Word>,
    /// What is there after; nothing if it is as it came.
    pub after: Option<Word>,
}

impl KnowledgeStore {
    pub(super) fn has_words(&self) -> Result<bool> {
        schema::has_words(&self.connection).map_err(|error| database_error(&self.path, error))
    }

    /// All words that were changed, sorted.
    ///
    /// # Errors
    /// [`Error::Database`] and its kind; [`Error::Corrupt`].
    pub fn words(&self) -> Result<Vec<Word>> {
        if !self.has_words()? {
            return Ok(Vec::new());
        }
        let read = || {
            let mut statement = self.connection.prepare("SELECT word FROM words ORDER BY key")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        };
        let rows = read().map_err(|error| database_error(&self.path, error))?;
        rows.iter().map(|row| parsed(row, &self.path)).collect()
    }

    /// Changes many words in one revision: each is stored under its name, or as it came with relens for `None`. Returns
    /// the revision, or `None` if nothing changed.
    ///
    /// # Errors
    /// [`Error::InvalidEntity`] if a word cannot be taken; then nothing has changed.
    pub fn edit_words(
        &mut self,
        action: &str,
        words: Vec<(String, String, Option<Word>)>,
    ) -> Result<Option<Revision>> {
        let path = self.path.clone();
        self.transact(|transaction| {
            let edit = Edit { transaction, path: &path };
            let mut changes = Vec::new();
            for (word, language, after) in words {
                let after = after.map(Word::normalised);
                if let Some(after) = &after {
                    after.ensure_valid()?;
                }
                let word = key(&word, &language).into_owned();
                let before = read(transaction, &word, &edit)?;
                if before != after {
                    changes.push(WordChange { word, before, after });
                }
            }
            edit.apply_words(action, None, &changes)
        })
    }

    /// What a revision changed of words.
    ///
    /// # Errors
    /// [`Error::Database`] and its kind; [`Error::Corrupt`].
    pub fn word_changes(&self, revision: i64) -> Result<Vec<WordChange>> {
        if !self.has_words()? {
            return Ok(Vec::new());
        }
        changes(&self.connection, &self.path, revision)
    }
}

impl Word {
    /// [`validate`](Word::validate), as an error of the crate.
    ///
    /// # Errors
    /// [`Error::InvalidEntity`].
    pub fn ensure_valid(&self) -> Result<()> {
        let invalid = |Invalid { field, expected, found }| {
            let entity: String = self.word.chars().take(MAX_NAME_CHARACTERS).collect();
            let found: String = found.chars().take(2 * MAX_NAME_CHARACTERS).collect();
            Error::InvalidEntity { entity, field, expected, found }
        };
        self.validate().map_err(invalid)
    }
}

impl Edit<'_> {
    /// Writes words and their revision; nothing if there is no change.
    pub(super) fn apply_words(
        &self,
        action: &str,
        undoes: Option<i64>,
        changes: &[WordChange],
    ) -> Result<Option<Revision>> {
        if changes.is_empty() {
            return Ok(None);
        }
        let revision = self.record(action, undoes, &[])?;
        for change in changes {
            self.write_word(revision.id, change)?;
        }
        Ok(Some(self.revision(revision.id)?))
    }

    fn write_word(&self, revision: i64, change: &WordChange) -> Result<()> {
        let json = |word: &Option<Word>| {
            word.as_ref().map(serde_json::to_string).transpose().map_err(|error| Error::Io(error.into()))
        };
        let (before, after) = (json(&change.before)?, json(&change.after)?);
        let write = || {
            match &after {
                Some(after) => self
                    .transaction
                    .prepare_cached("INSERT OR REPLACE INTO words (key, word) VALUES (?1, ?2)")?
                    .execute(params![change.word, after])?,
                None => self
                    .transaction
                    .prepare_cached("DELETE FROM words WHERE key = ?1")?
                    .execute([&change.word])?,
            };
            let sql = "INSERT INTO word_changes (revision, key, before, after) VALUES (?1, ?2, ?3, ?4)";
            self.transaction.prepare_cached(sql)?.execute(params![revision, change.word, before, after])
        };
        write().map(|_| ()).map_err(|error| database_error(self.path, error))
    }

    /// What has to be written so that the words are as before a revision.
    pub(super) fn words_before(&self, revision: i64) -> Result<Vec<WordChange>> {
        let mut restored = Vec::new();
        for change in changes(self.transaction, self.path, revision)? {
            if read(self.transaction, &change.word, self)? != change.after {
                let reason = format!("`{}` has changed again since revision {revision}", change.word);
                return Err(Error::CannotUndo { reason: format!("{reason}; undo the later revision first") });
            }
            restored.push(WordChange { word: change.word, before: change.after, after: change.before });
        }
        Ok(restored)
    }
}

fn changes(connection: &Connection, path: &std::path::Path, revision: i64) -> Result<Vec<WordChange>> {
    let read = || {
        let sql = "SELECT key, before, after FROM word_changes WHERE revision = ?1 ORDER BY key";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([revision], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect::<rusqlite::Result<Vec<(String, Option<String>, Option<String>)>>>()
    };
    let parse = |text: Option<String>| text.map(|text| parsed(&text, path)).transpose();
    let rows = read().map_err(|error| database_error(path, error))?;
    rows.into_iter()
        .map(|(word, before, after)| Ok(WordChange { word, before: parse(before)?, after: parse(after)? }))
        .collect()
}

fn read(transaction: &Transaction<'_>, key: &str, edit: &Edit<'_>) -> Result<Option<Word>> {
    let sql = "SELECT word FROM words WHERE key = ?1";
    let found: Option<String> = transaction
        .query_row(sql, [key], |row| row.get(0))
        .optional()
        .map_err(|error| database_error(edit.path, error))?;
    found.map(|text| parsed(&text, edit.path)).transpose()
}

fn parsed(text: &str, path: &std::path::Path) -> Result<Word> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt {
        path: path.to_owned(),
        expected: "a word with its meanings".to_owned(),
        found: error.to_string(),
    })
}
