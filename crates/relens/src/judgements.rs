//! What people said of hits: right or wrong for a query. Kept in a file that only grows, a line each.
//!
//! The last word on a picture and a query counts. A judgement names the picture's file, for numbers of a library mean
//! nothing to another one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::append_log::AppendLog;
use crate::error::{Error, Result};

/// The file of judgements inside relens's home directory.
pub const JUDGEMENTS_FILE: &str = "judgements.jsonl";

/// What somebody said of a hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HitJudgement {
    /// What was searched for, as it was typed.
    pub query: String,
    /// The picture's file.
    pub path: String,
    /// Whether it shows that; `None` takes back what was said before.
    pub right: Option<bool>,
    /// When, in seconds since 1970.
    pub at: u64,
}

impl HitJudgement {
    /// What is said just now.
    pub fn now(query: &str, path: &Path, right: Option<bool>) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at = since.map_or(0, |since| since.as_secs());
        Self { query: query.trim().to_owned(), path: path.to_string_lossy().into_owned(), right, at }
    }
}

/// The last word on each picture, by query.
type Said = HashMap<String, HashMap<String, bool>>;

/// Judgements that can be added to; opened when they are first needed.
#[derive(Debug)]
pub struct HitJudgements {
    path: PathBuf,
    open: Mutex<Option<(AppendLog, Said)>>,
}

impl HitJudgements {
    /// Those of the file at `path`, which is made when there is something to keep.
    pub fn at(path: PathBuf) -> Self {
        Self { path, open: Mutex::default() }
    }

    /// Keeps a judgement; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process adds to the file; [`Error::Dataset`] with the line if the file is damaged;
    /// [`Error::Io`].
    pub fn add(&self, judgement: &HitJudgement) -> Result<()> {
        let mut open = self.open()?;
        if open.is_none() {
            *open = Some(self.read_for_adding()?);
        }
        let Some((log, said)) = open.as_mut() else { return Ok(()) };
        let line = serde_json::to_string(judgement).map_err(|error| Error::Io(error.into()))?;
        log.append(&line)?;
        log.sync()?;
        note(said, judgement);
        Ok(())
    }

    /// The last word on each picture's file for a query.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn of(&self, query: &str) -> Result<HashMap<String, bool>> {
        let open = self.open()?;
        Ok(match open.as_ref() {
            Some((_, said)) => said.get(query.trim()).cloned().unwrap_or_default(),
            None => HashMap::new(),
        })
    }

    /// The file, opened if it is there and was not yet.
    fn open(&self) -> Result<MutexGuard<'_, Option<(AppendLog, Said)>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() && self.path.is_file() {
            *open = Some(self.read_for_adding()?);
        }
        Ok(open)
    }

    fn read_for_adding(&self) -> Result<(AppendLog, Said)> {
        let mut said = Said::new();
        let log = AppendLog::open(&self.path, |line| {
            note(&mut said, &parse(&self.path, line.number, line.text)?);
            Ok(())
        })?;
        Ok((log, said))
    }
}

/// Reads all judgements of a file, which another process may be adding to, in the order in which they were made.
///
/// # Errors
/// [`Error::Dataset`] with the line that is no judgement; [`Error::Io`].
pub fn read(path: &Path) -> Result<Vec<HitJudgement>> {
    let text = fs_err::read_to_string(path)?;
    // What has no line end yet is still being written.
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    whole.lines().zip(1..).map(|(line, number)| parse(path, number, line)).collect()
}

fn parse(path: &Path, number: usize, line: &str) -> Result<HitJudgement> {
    serde_json::from_str(line).map_err(|error| Error::Dataset {
        path: path.to_owned(),
        location: format!("line {number}"),
        expected: "a judgement {\"query\", \"path\", \"right\", \"at\"}".to_owned(),
        found: error.to_string(),
    })
}

fn note(said: &mut Said, judgement: &HitJudgement) {
    let of_query = said.entry(judgement.query.clone()).or_default();
    match judgement.right {
        Some(right) => of_query.insert(judgement.path.clone(), right),
        None => of_query.remove(&judgement.path),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(JUDGEMENTS_FILE);
        let say = |judgements: &HitJudgements, picture: &str, right| {
            judgements.add(&HitJudgement::now(" a dog\n", Path::new(picture), right)).unwrap();
        };
        {
            let judgements = HitJudgements::at(path.clone());
            assert!(judgements.of("a dog").unwrap().is_empty() && !path.exists());
            say(&judgements, "/a.jpg", Some(true));
            say(&judgements, "/b.jpg", Some(true));
            say(&judgements, "/b.jpg", Some(false));
            say(&judgements, "/c.jpg", Some(true));
            say(&judgements, "/c.jpg", None);
        }
        let judgements = HitJudgements::at(path.clone());
        let said = judgements.of("a dog").unwrap();
        assert_eq!((said.len(), said["/a.jpg"], said["/b.jpg"]), (2, true, false));
        assert!(judgements.of("a cat").unwrap().is_empty());
        assert_eq!(read(&path).unwrap().len(), 5);
        assert!(matches!(HitJudgements::at(path).of("a dog"), Err(Error::Busy { .. })));
    }

    #[test]
    fn a_line_that_is_no_judgement_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(JUDGEMENTS_FILE);
        fs_err::write(&path, "{\"query\": 1}\ntorn").unwrap();
        let error = HitJudgements::at(path.clone()).of("a dog").unwrap_err().to_string();
        assert!(error.contains("line 1: expected a judgement"), "{error}");
        fs_err::write(&path, "torn").unwrap();
        assert!(read(&path).unwrap().is_empty());
    }
}
