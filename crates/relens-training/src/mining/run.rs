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

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use relens_models::atomic_file::{AtomicFile, write_atomically};
use serde::Serialize;

use super::highlights::Highlights;
use super::pro_format::{ProExample, write_example};
use super::record::{self, MinedQuery, MinedWriter};
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
