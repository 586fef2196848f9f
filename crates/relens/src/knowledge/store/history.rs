//! Revisions: what was changed, when, and how it is taken back.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;

use super::{database_error, invalid_entity, rows, schema};
use crate::error::{Error, Result};
use crate::knowledge::Entity;

/// One edit of the knowledge base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revision {
    /// Its number, counting from 1.
    pub id: i64,
    /// When it was made, in UTC: `2025-01-31T12:00:00Z`.
    pub at: String,
    /// What was done: `add`, `edit`, `remove`, `import`, `undo`.
    pub action: String,
    /// The revision that this one took back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoes: Option<i64>,
    /// The revision that took this one back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<i64>,
    /// How many entities and words it changed.
    pub changed: usize,
    /// The first of them by name.
    pub entity: String,
}

/// What a revision did to one entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntityChange {
    /// The entity's name.
    pub entity: String,
    /// What was there before; nothing if it is new.
    pub before: Option<Entity>,
    /// What is there after; nothing if it was removed.
    pub after: Option<Entity>,
}

const COLUMNS: &str = "SELECT revisions.id, at, action, undoes, undone_by,
    (SELECT count(*) FROM changes WHERE revision = revisions.id)
        + (SELECT count(*) FROM word_changes WHERE revision = revisions.id),
    coalesce((SELECT min(entity) FROM changes WHERE revision = revisions.id),
        (SELECT min(key) FROM word_changes WHERE revision = revisions.id))
    FROM revisions";
/// The same for a knowledge base of the version that knew no words, which is only read.
const COLUMNS_WITHOUT_WORDS: &str = "SELECT revisions.id, at, action, undoes, undone_by,
    (SELECT count(*) FROM changes WHERE revision = revisions.id),
    (SELECT min(entity) FROM changes WHERE revision = revisions.id)
    FROM revisions";

fn revision(row: &Row<'_>) -> rusqlite::Result<Revision> {
    Ok(Revision {
        id: row.get(0)?,
        at: row.get(1)?,
        action: row.get(2)?,
        undoes: row.get(3)?,
        undone_by: row.get(4)?,
        changed: usize::try_from(row.get::<_, i64>(5)?).unwrap_or(usize::MAX),
        entity: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
    })
}

/// The latest revisions first.
pub(super) fn read(
    connection: &Connection,
    entity: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<Revision>> {
    let of_entity = "EXISTS (SELECT 1 FROM changes WHERE revision = revisions.id AND entity = ?1)";
    let of_word = "EXISTS (SELECT 1 FROM word_changes WHERE revision = revisions.id AND key = ?1)";
    let (columns, condition) = if schema::has_words(connection)? {
        (COLUMNS, format!("{of_entity} OR {of_word}"))
    } else {
        (COLUMNS_WITHOUT_WORDS, of_entity.to_owned())
    };
    let sql = format!("{columns} WHERE ?1 IS NULL OR {condition} ORDER BY id DESC LIMIT ?2");
    let mut statement = connection.prepare(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    statement.query_map(params![entity, limit], revision)?.collect()
}

/// What one revision changed, by name.
pub(super) fn changes(connection: &Connection, path: &Path, revision: i64) -> Result<Vec<EntityChange>> {
    let read = || {
        let sql = "SELECT entity, before, after FROM changes WHERE revision = ?1 ORDER BY entity";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([revision], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect::<rusqlite::Result<Vec<(String, Option<String>, Option<String>)>>>()
    };
    let rows = read().map_err(|error| database_error(path, error))?;
    let parse = |text: Option<String>| {
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| Error::Corrupt {
            path: path.to_owned(),
            expected: format!("an entity in revision {revision}"),
            found: error.to_string(),
        })
    };
    rows.into_iter()
        .map(|(entity, before, after)| {
            Ok(EntityChange { entity, before: parse(before)?, after: parse(after)? })
        })
        .collect()
}

/// A transaction in which entities are changed and the change recorded.
pub(super) struct Edit<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) path: &'a Path,
}

impl Edit<'_> {
    /// What is stored under this name.
    pub(super) fn entity(&self, name: &str) -> Result<Option<Entity>> {
        rows::read(self.transaction, name).map_err(|error| database_error(self.path, error))
    }

    /// Stores every entity under its name, or removes it, and records all that differs as one revision.
    pub(super) fn apply(
        &self,
        action: &str,
        undoes: Option<i64>,
        after: Vec<(String, Option<Entity>)>,
    ) -> Result<Option<Revision>> {
        let mut changes = Vec::new();
        for (entity, after) in after {
            let after = after.map(Entity::normalised);
            if let Some(after) = &after {
                after.ensure_valid()?;
            }
            let before = self.entity(&entity)?;
            // An edit that changes nothing makes no revision, so that undo always undoes something.
            if before != after {
                changes.push(EntityChange { entity, before, after });
            }
        }
        if changes.is_empty() {
            return Ok(None);
        }
        self.store(&changes)?;
        self.record(action, undoes, &changes).map(Some)
    }

    /// Writes the entities. Removals go first, so that a name can move from one entity to another.
    pub(super) fn store(&self, changes: &[EntityChange]) -> Result<()> {
        let failed = |error| database_error(self.path, error);
        for change in changes {
            // All old rows go before the first new one comes: an alias may move from one changed entity to another.
            rows::replace(self.transaction, &change.entity, None).map_err(failed)?;
        }
        for change in changes {
            let Some(after) = &change.after else { continue };
            for (position, alias) in after.aliases.iter().enumerate() {
                if let Some(owner) = rows::name_of_alias(self.transaction, alias).map_err(failed)? {
                    let (field, found) =
                        (format!("aliases[{position}]"), format!("`{alias}`, an alias of `{owner}`"));
                    return Err(invalid_entity(&after.name, &field, "an alias of one entity", &found));
                }
            }
            rows::replace(self.transaction, &change.entity, Some(after)).map_err(failed)?;
        }
        self.check_names()
    }

    /// No alias may be the name of an entity.
    fn check_names(&self) -> Result<()> {
        let sql = "SELECT owner.name, aliases.alias,
            EXISTS (SELECT 1 FROM aliases AS back WHERE back.entity = named.id AND back.alias = owner.name)
            FROM aliases JOIN entities AS named ON named.name = aliases.alias
            JOIN entities AS owner ON owner.id = aliases.entity ORDER BY owner.name LIMIT 1";
        let found = self.transaction.query_row(sql, [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?))
        });
        match found.optional().map_err(|error| database_error(self.path, error))? {
            None => Ok(()),
            Some((owner, alias, cyclic)) => {
                let found = if cyclic {
                    format!("cyclic aliases: {owner} → {alias} → {owner}")
                } else {
                    format!("`{alias}`, which is an entity")
                };
                Err(invalid_entity(&owner, "aliases", "names that are no entities themselves", &found))
            }
        }
    }

    /// Writes the revision and its changes.
    pub(super) fn record(
        &self,
        action: &str,
        undoes: Option<i64>,
        changes: &[EntityChange],
    ) -> Result<Revision> {
        let json = |entity: &Option<Entity>| {
            entity.as_ref().map(serde_json::to_string).transpose().map_err(|error| Error::Io(error.into()))
        };
        let rows: Vec<(&str, Option<String>, Option<String>)> = changes
            .iter()
            .map(|change| Ok((change.entity.as_str(), json(&change.before)?, json(&change.after)?)))
            .collect::<Result<_>>()?;
        let write = || {
            let sql = "INSERT INTO revisions (action, undoes) VALUES (?1, ?2)";
            self.transaction.prepare_cached(sql)?.execute(params![action, undoes])?;
            let id = self.transaction.last_insert_rowid();
            for (entity, before, after) in rows {
                let sql = "INSERT INTO changes (revision, entity, before, after) VALUES (?1, ?2, ?3, ?4)";
                self.transaction.prepare_cached(sql)?.execute(params![id, entity, before, after])?;
            }
            Ok(id)
        };
        let id = write().map_err(|error| database_error(self.path, error))?;
        self.revision(id)
    }

    /// The revision of this number.
    pub(super) fn revision(&self, id: i64) -> Result<Revision> {
        self.transaction
            .query_row(&format!("{COLUMNS} WHERE id = ?1"), [id], revision)
            .map_err(|error| database_error(self.path, error))
    }

    /// Takes back `id`, or the latest edit.
    pub(super) fn undo(&self, id: Option<i64>) -> Result<Revision> {
        let failed = |error| database_error(self.path, error);
        let cannot = |reason: String| Error::CannotUndo { reason };
        let condition = match id {
            Some(_) => "WHERE id = ?1",
            // What a knowledge base began with is no edit: taking it back leaves nothing, and has to be asked for by number.
            None => {
                "WHERE ?1 IS NULL AND undoes IS NULL AND undone_by IS NULL AND action <> 'seed' ORDER BY id DESC LIMIT 1"
            }
        };
        let sql = format!("{COLUMNS} {condition}");
        let target = self.transaction.query_row(&sql, params![id], revision).optional().map_err(failed)?;
        let target = target.ok_or_else(|| {
            cannot(id.map_or_else(
                || "there is no edit left to undo".to_owned(),
                |id| format!("there is no revision {id}"),
            ))
        })?;
        if let Some(by) = target.undone_by {
            return Err(cannot(format!("revision {} was already undone by revision {by}", target.id)));
        }
        let mut restored = Vec::new();
        for change in changes(self.transaction, self.path, target.id)? {
            // Undoing an older revision over a newer one would silently throw the newer away.
            if self.entity(&change.entity)? != change.after {
                let reason = format!("`{}` has changed again since revision {}", change.entity, target.id);
                return Err(cannot(format!("{reason}; undo the later revision first")));
            }
            restored.push((change.entity, change.before));
        }
        let words = self.words_before(target.id)?;
        let made = if words.is_empty() {
            self.apply("undo", Some(target.id), restored)?
        } else {
            self.apply_words("undo", Some(target.id), &words)?
        };
        let made = made.ok_or_else(|| cannot(format!("revision {} changed nothing", target.id)))?;
        let mark = || {
            let sql = "UPDATE revisions SET undone_by = ?1 WHERE id = ?2";
            self.transaction.execute(sql, params![made.id, target.id])?;
            // Taking back an undo brings the original edit back to life.
            self.transaction.execute(sql, params![None::<i64>, target.undoes])
        };
        mark().map_err(failed)?;
        Ok(made)
    }
}
