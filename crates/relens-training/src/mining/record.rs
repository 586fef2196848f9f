//! What mining writes and training reads: JSON Lines, one finished query a line.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use relens::append_log::AppendLog;
use relens::error::Error;
use serde::{Deserialize, Serialize};

use crate::Result;

/// How rewrites were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MiningStrategy {
    /// MGQRe's challenge response: a model compares the ground truth with what beat it, and its rewrites are retested.
    ChallengeResponse,
    /// A model rewrites from the picture alone.
    DirectGeneration,
    /// A model rewrites, and refines by the similarity alone.
    FeedbackEnhancement,
    /// A model makes a good query vaguer.
    Blur,
    /// EvdCLIP's D_EQR: a model weaves visual descriptions into the query.
    EvdEnhanced,
    /// Generated without a language model, chosen by the retriever.
    Composer,
    /// A model's recorded answers, scored by the retriever.
    Imported,
}

impl MiningStrategy {
    /// The name that files and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChallengeResponse => "challenge_response",
            Self::DirectGeneration => "direct_generation",
            Self::FeedbackEnhancement => "feedback_enhancement",
            Self::Blur => "blur",
            Self::EvdEnhanced => "evd_enhanced",
            Self::Composer => "composer",
            Self::Imported => "imported",
        }
    }
}

/// How the pictures were shown to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageForm {
    /// As pictures.
    Images,
    /// As their known captions: a text-only model stood in for a multimodal one.
    Captions,
}

/// One rewrite of a query and what the retriever made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinedRewrite {
    /// The text.
    pub text: String,
    /// The rank of the query's picture for it in the pool, from 1.
    pub rank: u32,
    /// Its similarity to the query's picture.
    pub score: f32,
    /// Cosine of its sentence embedding with the query's.
    pub similarity_to_query: f32,
    /// The turn in which it was written, from 1; 0 where there are no turns.
    pub turn: u32,
    /// What kind of rewrite it is: `rewrite`, `concept`, `evd`, `plain`, `original`, `renamed`, `described`, ….
    pub kind: String,
    /// Who wrote it: `llm`, `record`, `composer`, `caption`.
    pub source: String,
}

/// One query, its picture, and its rewrites, best first.
///
/// `query` is always the worse text: where a good query was blurred, the blurred text is `query` and the good one is
/// among the rewrites. A query for which nothing was accepted has no rewrites.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinedQuery {
    /// The caption that was worked on: the picture's name, `#`, and the caption's position from 0.
    pub id: String,
    /// The query.
    pub query: String,
    /// Its picture, relative to the data set's directory of pictures.
    pub image: String,
    /// The rank of the picture for the query in the pool, from 1.
    pub low_rank: u32,
    /// The similarity of the query to the picture.
    pub low_score: f32,
    /// By rank, then by score, best first.
    pub rewrites: Vec<MinedRewrite>,
    /// How the rewrites were found.
    pub strategy: MiningStrategy,
    /// The prompt's name and version; empty where there is no prompt.
    pub prompt: String,
    /// The language model; empty where there is none.
    pub model: String,
    /// How pictures were shown to the model, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pictures: Option<ImageForm>,
    /// A model's replies by how they could be read: `valid`, `mended`, `repaired`, `unusable`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replies: BTreeMap<String, u32>,
    /// Rewrites that were dropped, counted by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped: BTreeMap<String, u32>,
}

impl MinedQuery {
    /// Whether a rewrite brings the picture into the first `k` while the query does not.
    pub fn turned_high(&self, k: u32) -> bool {
        self.low_rank > k && self.rewrites.iter().any(|rewrite| rewrite.rank <= k)
    }

    /// Sorts the rewrites, best first: by rank, then by score, then by text.
    pub fn sort(&mut self) {
        self.rewrites.sort_by(|left, right| {
            let by_score = right.score.total_cmp(&left.score);
            left.rank.cmp(&right.rank).then(by_score).then_with(|| left.text.cmp(&right.text))
        });
    }

    fn check(&self) -> std::result::Result<(), (String, String)> {
        let refuse = |expected: &str, found: String| Err((expected.to_owned(), found));
        if self.query.trim().is_empty() {
            return refuse("a text in the field `query`", "an empty one".to_owned());
        }
        let ranks = std::iter::once(self.low_rank).chain(self.rewrites.iter().map(|rewrite| rewrite.rank));
        if ranks.into_iter().any(|rank| rank == 0) {
            return refuse("ranks from 1", "a rank of 0".to_owned());
        }
        let scores = self.rewrites.iter().flat_map(|rewrite| [rewrite.score, rewrite.similarity_to_query]);
        if let Some(score) = scores.chain([self.low_score]).find(|score| !score.is_finite()) {
            return refuse("finite scores", score.to_string());
        }
        if self.rewrites.iter().any(|rewrite| rewrite.text.trim().is_empty()) {
            return refuse("a text in every rewrite", "an empty one".to_owned());
        }
        Ok(())
    }
}

/// Parses a line; the error names file, line and field.
fn parse(path: &Path, number: usize, line: &str) -> relens::error::Result<MinedQuery> {
    let broken = |field: String, expected: String, found: String| Error::Dataset {
        path: path.to_owned(),
        location: format!("line {number}{field}"),
        expected,
        found,
    };
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let mined: MinedQuery = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = match error.path().to_string() {
            field if field == "." || field == "?" => String::new(),
            field => format!(", field `{field}`"),
        };
        broken(field, "a mined query as a JSON object".to_owned(), error.inner().to_string())
    })?;
    let ended = deserializer.end();
    ended
        .map_err(|_| broken(String::new(), "one JSON object".to_owned(), "more text after it".to_owned()))?;
    mined.check().map_err(|(expected, found)| broken(String::new(), expected, found))?;
    Ok(mined)
}

/// Shows `visit` every record of a file, in order, without holding them all.
///
/// # Errors
/// [`Error::Dataset`] naming line and field; what `visit` returns; an I/O error.
pub fn for_each(path: &Path, mut visit: impl FnMut(MinedQuery) -> Result<()>) -> Result<()> {
    let reader = std::io::BufReader::new(fs_err::File::open(path)?);
    for (position, line) in std::io::BufRead::lines(reader).enumerate() {
        let line = line?;
        if !line.trim().is_empty() {
            visit(parse(path, position + 1, &line)?)?;
        }
    }
    Ok(())
}

/// Reads all records of a file.
///
/// # Errors
/// As [`for_each`].
pub fn read(path: &Path) -> Result<Vec<MinedQuery>> {
    let mut mined = Vec::new();
    for_each(path, |query| {
        mined.push(query);
        Ok(())
    })?;
    Ok(mined)
}

/// Appends finished queries to a file, one line each; a torn last line is cut off when it is opened again.
#[derive(Debug)]
pub struct MinedWriter {
    log: AppendLog,
    finished: HashSet<String>,
}

impl MinedWriter {
    /// Opens or creates the file and reads which queries are finished.
    ///
    /// # Errors
    /// [`Error::Dataset`] naming line and field, also where a query is there twice; [`Error::Busy`] if another process
    /// writes to it; an I/O error.
    pub fn open(path: &Path) -> Result<Self> {
        let mut finished = HashSet::new();
        let log = AppendLog::open(path, |line| {
            let mined = parse(path, line.number, line.text)?;
            if finished.contains(&mined.id) {
                return Err(Error::Dataset {
                    path: path.to_owned(),
                    location: format!("line {}, field `id`", line.number),
                    expected: "a query that is there once".to_owned(),
                    found: format!("`{}` again", mined.id),
                });
            }
            finished.insert(mined.id);
            Ok(())
        })?;
        Ok(Self { log, finished })
    }

    /// Whether the query of this `id` is there.
    pub fn is_finished(&self, id: &str) -> bool {
        self.finished.contains(id)
    }

    /// How many queries are there.
    pub fn len(&self) -> usize {
        self.finished.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty()
    }

    /// Appends a finished query; a killed process does not lose it.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is there already or cannot be read back; an I/O error.
    pub fn append(&mut self, mined: &MinedQuery) -> Result<()> {
        let refuse = |expected: String, found: String| Error::Argument {
            operation: "MinedWriter::append",
            expected,
            found,
        };
        mined.check().map_err(|(expected, found)| refuse(expected, found))?;
        if self.finished.contains(&mined.id) {
            return Err(refuse("a new query".to_owned(), format!("`{}` again", mined.id)).into());
        }
        self.log.append(&serde_json::to_string(mined).map_err(std::io::Error::from)?)?;
        self.finished.insert(mined.id.clone());
        Ok(())
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// An I/O error.
    pub fn sync(&self) -> Result<()> {
        Ok(self.log.sync()?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::mining) fn mined(id: &str) -> MinedQuery {
        let rewrite = |text: &str, rank, score| MinedRewrite {
            text: text.to_owned(),
            rank,
            score,
            similarity_to_query: 0.8,
            turn: 1,
            kind: "rewrite".to_owned(),
            source: "llm".to_owned(),
        };
        MinedQuery {
            id: id.to_owned(),
            query: "a dog".to_owned(),
            image: "a.jpg".to_owned(),
            low_rank: 7,
            low_score: 0.25,
            rewrites: vec![rewrite("a brown dog", 2, 0.3), rewrite("a wet dog", 1, 0.35)],
            strategy: MiningStrategy::ChallengeResponse,
            prompt: "challenge@0123abcd".to_owned(),
            model: "m".to_owned(),
            pictures: Some(ImageForm::Captions),
            replies: BTreeMap::new(),
            dropped: BTreeMap::from([("too_long".to_owned(), 1)]),
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_torn_line_is_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mined.jsonl");
        let mut writer = MinedWriter::open(&path).unwrap();
        writer.append(&mined("a.jpg#0")).unwrap();
        writer.append(&mined("a.jpg#1")).unwrap();
        assert!(writer.append(&mined("a.jpg#1")).is_err(), "no query is written twice");
        drop(writer);
        let whole = fs_err::read(&path).unwrap();
        fs_err::write(&path, &whole[..whole.len() - 5]).unwrap();
        let mut writer = MinedWriter::open(&path).unwrap();
        assert!(writer.is_finished("a.jpg#0") && !writer.is_finished("a.jpg#1"));
        writer.append(&mined("a.jpg#1")).unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), whole);
        assert_eq!(read(&path).unwrap(), [mined("a.jpg#0"), mined("a.jpg#1")]);
    }

    #[test]
    fn faults_name_line_and_field() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mined.jsonl");
        let good = serde_json::to_string(&mined("a.jpg#0")).unwrap();
        for (line, expected) in [
            (good.replace("\"low_rank\":7", "\"low_rank\":\"7\""), "line 2, field `low_rank`"),
            (good.replace("\"low_rank\":7", "\"low_rank\":0"), "line 2: expected ranks from 1"),
            (good.replace("a wet dog", " "), "line 2: expected a text in every rewrite"),
            (good.replace("\"turn\":1", "\"turns\":1"), "line 2, field `rewrites[0].turns`"),
            (format!("{good} {good}"), "line 2: expected one JSON object"),
        ] {
            fs_err::write(&path, format!("{good}\n{line}\n")).unwrap();
            let message = read(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        fs_err::write(&path, format!("{good}\n{good}\n")).unwrap();
        let message = MinedWriter::open(&path).unwrap_err().to_string();
        assert!(message.contains("line 2, field `id`"), "{message}");
    }

    #[test]
    fn the_best_rewrite_comes_first_and_decides() {
        let mut query = mined("a.jpg#0");
        query.sort();
        assert_eq!(query.rewrites[0].text, "a wet dog");
        assert!(query.turned_high(1));
        query.low_rank = 1;
        assert!(!query.turned_high(1), "it was high before");
    }
}
