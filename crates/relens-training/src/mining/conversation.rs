//! One query on its way through the turns of a strategy; every change of it is persisted.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use relens::append_log::AppendLog;
use relens::error::Error;
use serde::{Deserialize, Serialize};

use super::acceptance::Drops;
use super::pool::PoolCaption;
use super::record::MinedRewrite;
use crate::Result;
use crate::retriever_feedback::Judgement;

/// What happens to the query next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationPhase {
    /// The pictures that beat its own are looked up.
    Recall,
    /// It is submitted to the model, and reviewed there.
    Submit,
    /// The model's rewrites are retested.
    Feedback(Review),
    /// Nothing: its record can be written.
    Finished,
}

/// What the model answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// Its comparison.
    #[serde(default)]
    pub analysis: String,
    /// What it says that the retriever fails on.
    #[serde(default)]
    pub failed_concepts: Vec<String>,
    /// Its rewrites.
    pub rewrites: Vec<String>,
}

/// A turn that is over, as the next prompt tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// From 1.
    pub number: u32,
    /// What the model said that the retriever fails on.
    pub failed_concepts: Vec<String>,
    /// What came of its rewrites.
    pub rewrites: Vec<TurnRewrite>,
}

/// A rewrite of a turn and the retriever's feedback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnRewrite {
    /// The text.
    pub text: String,
    /// The rank of the right picture.
    pub rank: u32,
    /// The similarity to it.
    pub score: f32,
}

/// The state of one query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// The caption and its picture.
    #[serde(flatten)]
    pub caption: PoolCaption,
    /// The retriever's feedback on the query itself.
    pub judgement: Judgement,
    /// The turn, from 1.
    pub turn: u32,
    /// What comes next.
    pub phase: ConversationPhase,
    /// The hard negatives of this turn, by their position in the pool.
    pub negatives: Vec<usize>,
    /// The turns that are over.
    pub history: Vec<Turn>,
    /// All rewrites that were retested.
    pub judged: Vec<MinedRewrite>,
    /// Rewrites that were dropped.
    pub dropped: Drops,
    /// Replies by how they could be read.
    pub replies: BTreeMap<String, u32>,
}

impl Conversation {
    /// A query that nothing has happened to.
    pub fn new(caption: PoolCaption, judgement: Judgement) -> Self {
        Self {
            caption,
            judgement,
            turn: 1,
            phase: ConversationPhase::Recall,
            negatives: Vec::new(),
            history: Vec::new(),
            judged: Vec::new(),
            dropped: Drops::new(),
            replies: BTreeMap::new(),
        }
    }

    /// The text that pictures are recalled with: the best rewrite of the last turn, else the query.
    pub fn recall_text(&self) -> &str {
        let last = self.history.last().into_iter().flat_map(|turn| &turn.rewrites);
        let best = last.min_by(|left, right| {
            left.rank.cmp(&right.rank).then_with(|| right.score.total_cmp(&left.score))
        });
        best.map_or(&self.caption.query, |rewrite| &rewrite.text)
    }

    /// Counts a reply by how it could be read.
    pub fn count_reply(&mut self, reading: &str) {
        *self.replies.entry(reading.to_owned()).or_default() += 1;
    }
}

/// The transitions of all conversations that are not finished yet.
#[derive(Debug)]
pub struct TransitionLog {
    log: AppendLog,
}

impl TransitionLog {
    /// Opens the log and returns the last state of every conversation that `is_finished` does not know. What is finished
    /// is cleared away.
    ///
    /// # Errors
    /// [`Error::Dataset`] naming a damaged line; [`Error::Busy`]; an I/O error.
    pub fn open(
        path: &Path,
        is_finished: impl Fn(&str) -> bool,
    ) -> Result<(Self, HashMap<String, Conversation>)> {
        #[derive(Deserialize)]
        struct Id {
            id: String,
        }
        let mut unfinished = HashMap::new();
        let log = AppendLog::open(path, |line| {
            let broken = |error: serde_json::Error| Error::Dataset {
                path: path.to_owned(),
                location: format!("line {}", line.number),
                expected: "a conversation as a JSON object".to_owned(),
                found: error.to_string(),
            };
            let Id { id } = serde_json::from_str(line.text).map_err(broken)?;
            if !is_finished(&id) {
                unfinished.insert(id, serde_json::from_str(line.text).map_err(broken)?);
            }
            Ok(())
        })?;
        if log.length() == 0 {
            return Ok((Self { log }, unfinished));
        }
        drop(log);
        let mut states: Vec<&Conversation> = unfinished.values().collect();
        states.sort_by(|left, right| left.caption.id.cmp(&right.caption.id));
        let mut text = Vec::new();
        for state in states {
            serde_json::to_writer(&mut text, state).map_err(std::io::Error::from)?;
            text.push(b'\n');
        }
        relens_models::atomic_file::write_atomically(path, &text)?;
        Ok((Self { log: AppendLog::open(path, |_| Ok(()))? }, unfinished))
    }

    /// Persists the state of a conversation.
    ///
    /// # Errors
    /// An I/O error.
    pub fn append(&mut self, conversation: &Conversation) -> Result<()> {
        Ok(self.log.append(&serde_json::to_string(conversation).map_err(std::io::Error::from)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_state_of_what_is_not_finished_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("transitions.jsonl");
        let (mut log, none) = TransitionLog::open(&path, |_| false).unwrap();
        assert!(none.is_empty());
        let judgement = Judgement { rank: 7, score: 0.1 + 0.2 };
        for id in ["a#0", "b#0"] {
            let caption = PoolCaption { id: id.to_owned(), query: "a dog".to_owned(), picture: 3 };
            let mut conversation = Conversation::new(caption, judgement);
            log.append(&conversation).unwrap();
            conversation.phase =
                ConversationPhase::Feedback(Review { rewrites: vec!["x".into()], ..Review::default() });
            conversation.negatives = vec![1, 2];
            log.append(&conversation).unwrap();
        }
        drop(log);
        let bytes = fs_err::read(&path).unwrap();
        fs_err::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let (log, states) = TransitionLog::open(&path, |id| id == "a#0").unwrap();
        drop(log);
        assert_eq!(states.len(), 1);
        assert_eq!((&states["b#0"].phase, states["b#0"].judgement), (&ConversationPhase::Recall, judgement));
        assert_eq!(
            fs_err::read_to_string(&path).unwrap().lines().count(),
            1,
            "the finished are cleared away"
        );
    }
}
