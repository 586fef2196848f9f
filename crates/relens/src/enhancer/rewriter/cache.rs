//! Rewrites that were made before: in memory for this process, in SQLite for the next one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::model::Rewrite;
use crate::error::Result;
use crate::private_file;
use crate::sqlite_error::database_error;
use crate::storage_error::write_error;

/// Prompts remembered in memory; at some hundred bytes each, a few megabytes.
const REMEMBERED: usize = 1 << 14;

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(2);

/// Rewrites by prompt, of one model with one decoding.
pub struct RewriteCache {
    model: String,
    memory: Mutex<HashMap<String, Vec<Rewrite>>>,
    database: Option<Mutex<Connection>>,
}

impl RewriteCache {
    /// A cache that is forgotten with the process.
    pub fn in_memory(model: &str) -> Self {
        Self { model: model.to_owned(), memory: Mutex::default(), database: None }
    }

    /// A cache in the file `path`, for rewrites of `model` (whatever decides them: weights and decoding).
    ///
    /// # Errors
    /// The file's directory cannot be made; the file cannot be opened, or is no cache.
    pub fn open(path: &Path, model: &str) -> Result<Self> {
        if let Some(directory) = path.parent() {
            fs_err::create_dir_all(directory).map_err(|error| write_error(directory, &error))?;
        }
        private_file::create(path);
        let connection = connect(path).map_err(|error| database_error(path, "a cache of rewrites", error))?;
        Ok(Self { database: Some(Mutex::new(connection)), ..Self::in_memory(model) })
    }

    /// The rewrites of a prompt, if they are known. What the file cannot tell is unknown.
    pub fn get(&self, prompt: &str) -> Option<Vec<Rewrite>> {
        if let Some(rewrites) = self.memory().get(prompt) {
            return Some(rewrites.clone());
        }
        let database = self.database.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let text = database
            .prepare_cached("SELECT rewrites FROM rewrites WHERE model = ?1 AND prompt = ?2")
            .and_then(|mut statement| {
                statement.query_row(params![self.model, prompt], |row| row.get::<_, String>(0)).optional()
            });
        let rewrites: Vec<Rewrite> = match text {
            Ok(text) => serde_json::from_str(&text?).ok()?,
            Err(error) => {
                tracing::warn!(%error, "the cache of rewrites cannot be read");
                return None;
            }
        };
        drop(database);
        self.remember(prompt, rewrites.clone());
        Some(rewrites)
    }

    /// Keeps the rewrites of prompts. A file that cannot be written to is no reason to fail: they stay in memory.
    pub fn put(&self, made: &[(&str, Vec<Rewrite>)]) {
        for (prompt, rewrites) in made {
            self.remember(prompt, rewrites.clone());
        }
        let Some(database) = &self.database else { return };
        let mut database = database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = write(&mut database, &self.model, made) {
            tracing::warn!(%error, "the cache of rewrites cannot be written to");
        }
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<String, Vec<Rewrite>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, prompt: &str, rewrites: Vec<Rewrite>) {
        let mut memory = self.memory();
        if memory.len() >= REMEMBERED {
            memory.clear();
        }
        memory.insert(prompt.to_owned(), rewrites);
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    // A lost rewrite is made again: durability would cost milliseconds a query.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = OFF;
         CREATE TABLE IF NOT EXISTS rewrites (
             model TEXT NOT NULL,
             prompt TEXT NOT NULL,
             rewrites TEXT NOT NULL,
             PRIMARY KEY (model, prompt)
         ) WITHOUT ROWID;",
    )?;
    Ok(connection)
}

fn write(database: &mut Connection, model: &str, made: &[(&str, Vec<Rewrite>)]) -> rusqlite::Result<()> {
    let transaction = database.transaction()?;
    {
        let mut statement =
            transaction.prepare_cached("INSERT OR REPLACE INTO rewrites VALUES (?1, ?2, ?3)")?;
        for (prompt, rewrites) in made {
            let text = serde_json::to_string(rewrites).unwrap_or_default();
            statement.execute(params![model, prompt, text])?;
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrites(text: &str) -> Vec<Rewrite> {
        vec![Rewrite { text: text.to_owned(), mean_log_prob: -0.5 }]
    }

    #[test]
    fn what_is_put_is_there_for_the_next_process_and_for_its_model_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/rewrites.db");
        let cache = RewriteCache::open(&path, "a").unwrap();
        assert_eq!(cache.get("a dog"), None);
        cache.put(&[("a dog", rewrites("a brown dog")), ("a cat", Vec::new())]);
        assert_eq!(cache.get("a dog"), Some(rewrites("a brown dog")));
        drop(cache);
        let cache = RewriteCache::open(&path, "a").unwrap();
        assert_eq!(cache.get("a dog"), Some(rewrites("a brown dog")));
        assert_eq!(cache.get("a cat"), Some(Vec::new()), "that there is none is known, too");
        assert_eq!(RewriteCache::open(&path, "b").unwrap().get("a dog"), None);
    }

    #[test]
    fn a_file_that_is_no_cache_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rewrites.db");
        fs_err::write(&path, "no database at all, but long enough to have a header".repeat(9)).unwrap();
        let error = RewriteCache::open(&path, "a").err().unwrap().to_string();
        assert!(error.contains("a cache of rewrites"), "{error}");
    }
}
