//! A mining run on disk.
//!
//! ```text
//! OUTPUT/
//!   config.toml    what the run was started with
//!   mined.jsonl    one finished query a line, appended
//!   pro.jsonl      the same for listwise training, made when the run ends
//!   summary.json   the numbers, made when the run ends
//!   report.html    the numbers, drawn, with samples: written by the command that makes the run
//! ```

use std::collections::HashSet;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use relens_models::atomic_file::{AtomicFile, write_atomically};
use serde::{Deserialize, Serialize};

use super::filters::comparable;
use super::record::{self, MinedQuery, MinedWriter};
use super::summary::Highlights;
use super::summary::Summary;
use crate::{Result, TrainingError};

const CONFIG: &str = "config.toml";
/// The records.
pub const MINED: &str = "mined.jsonl";
/// The records for listwise training.
pub const PRO: &str = "pro.jsonl";
/// The numbers.
pub const SUMMARY: &str = "summary.json";
/// The numbers, drawn, with samples; see [`Highlights`].
pub const REPORT: &str = "report.html";

/// A run directory that is being written to by this process alone.
#[derive(Debug)]
pub struct MiningRun {
    directory: PathBuf,
    writer: MinedWriter,
}

impl MiningRun {
    /// Creates the directory, or goes on with the run that is there.
    ///
    /// # Errors
    /// [`TrainingError::RunChanged`] if it has records of other settings; a damaged record, by line; an I/O error.
    pub fn open(directory: &Path, config: &impl Serialize) -> Result<Self> {
        fs_err::create_dir_all(directory)?;
        let path = directory.join(CONFIG);
        let text = toml::to_string_pretty(config)
            .map_err(|error| TrainingError::ConfigFile { path: path.clone(), reason: error.to_string() })?;
        let writer = MinedWriter::open(&directory.join(MINED))?;
        if !writer.is_empty() && path.exists() {
            let difference = crate::run::log::difference(&fs_err::read_to_string(&path)?, &text);
            if !difference.is_empty() {
                return Err(TrainingError::RunChanged { path, difference });
            }
        } else {
            write_atomically(&path, text.as_bytes())?;
        }
        Ok(Self { directory: directory.to_owned(), writer })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the query of this id is finished.
    pub fn is_finished(&self, id: &str) -> bool {
        self.writer.is_finished(id)
    }

    /// How many queries are finished.
    pub fn finished(&self) -> usize {
        self.writer.len()
    }

    /// Appends a finished query.
    ///
    /// # Errors
    /// As [`MinedWriter::append`].
    pub fn append(&mut self, mined: &MinedQuery) -> Result<()> {
        self.writer.append(mined)
    }

    /// Makes the files that are computed from all records, reading them one by one; and what a report needs.
    ///
    /// # Errors
    /// An I/O error.
    pub fn finish(&self, k: u32) -> Result<(Summary, Highlights)> {
        self.writer.sync()?;
        let (mut summary, mut highlights) = (Summary::new(k), Highlights::new(k));
        let mut writer = BufWriter::new(AtomicFile::create(&self.directory.join(PRO))?);
        record::for_each(&self.directory.join(MINED), |mined| {
            summary.add(&mined);
            highlights.add(&mined);
            if let Some(example) = ProExample::of(&mined) {
                write_example(&example, &mut writer)?;
            }
            Ok(())
        })?;
        writer.into_inner().map_err(std::io::IntoInnerError::into_error)?.commit()?;
        let numbers = serde_json::to_vec_pretty(&summary).map_err(std::io::Error::from)?;
        write_atomically(&self.directory.join(SUMMARY), &numbers)?;
        Ok((summary, highlights))
    }
}

/// One list to be ranked; rewards never rise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProExample {
    /// The query.
    pub prompt: String,
    /// Its rewrites and the query itself, best first.
    pub candidates: Vec<String>,
    /// Their similarities to the picture, as the retriever gives them; stages standardise them.
    pub rewards: Vec<f32>,
}

impl ProExample {
    /// The list of a query, itself among its rewrites; `None` if that is no list of two.
    pub fn of(mined: &MinedQuery) -> Option<Self> {
        let query = (mined.query.as_str(), mined.low_score);
        let rewrites = mined.rewrites.iter().map(|rewrite| (rewrite.text.as_str(), rewrite.score));
        let mut seen = HashSet::new();
        let mut list: Vec<(&str, f32)> =
            rewrites.chain([query]).filter(|(text, _)| seen.insert(comparable(text))).collect();
        list.sort_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.cmp(right.0)));
        (list.len() > 1).then(|| Self {
            prompt: mined.query.clone(),
            candidates: list.iter().map(|(text, _)| (*text).to_owned()).collect(),
            rewards: list.iter().map(|(_, reward)| *reward).collect(),
        })
    }
}

/// Writes one line.
///
/// # Errors
/// An I/O error.
pub fn write_example(example: &ProExample, writer: &mut impl Write) -> Result<()> {
    serde_json::to_writer(&mut *writer, example).map_err(std::io::Error::from)?;
    Ok(writer.write_all(b"\n")?)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::mined;
    use super::*;

    #[test]
    fn rewards_never_rise_and_no_candidate_is_there_twice() {
        let mut query = mined("a#0");
        query.low_score = 0.32;
        query.rewrites.push(query.rewrites[0].clone());
        let example = ProExample::of(&query).unwrap();
        assert_eq!(example.candidates, ["a wet dog", "a dog", "a brown dog"]);
        assert_eq!(example.rewards, [0.35, 0.32, 0.3]);
        query.rewrites.clear();
        assert_eq!(ProExample::of(&query), None);
    }
}
