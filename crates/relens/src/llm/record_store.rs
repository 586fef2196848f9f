//! Every reply that was ever paid for, under the hash of its request.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::accounting::ClientUsage;
use super::error::LlmError;
use super::request::{ChatReply, ChatRequest, RequestKey};
use crate::append_log::AppendLog;
use crate::error::Error;

/// How often what was written is forced to the disk: a power failure costs so much at most, a killed process nothing.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// A reply as it is recorded, one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedReply {
    /// The hash of the request; empty for an attempt whose reply was lost, which counts towards the budget.
    pub key: String,
    /// What was asked for.
    pub label: String,
    /// The prompt's name and version.
    pub prompt: String,
    /// The model.
    pub model: String,
    /// What it said.
    pub content: String,
    /// Why it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Why it stopped.
    pub finish_reason: String,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the reply.
    pub completion_tokens: u64,
    /// What it cost.
    pub cost: f64,
}

/// An append-only file of replies with an index in memory, a few dozen bytes a reply.
#[derive(Debug)]
pub struct RecordStore {
    log: AppendLog,
    reader: fs_err::File,
    replies: HashMap<RequestKey, u64>,
    labels: HashMap<u64, u64>,
    spent: ClientUsage,
    synced: Instant,
}

impl RecordStore {
    /// Opens or creates the file. A torn last line, which a killed process leaves, is cut off.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it open; [`Error::Dataset`] naming a damaged line; an I/O error.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (mut replies, mut labels, mut spent) = (HashMap::new(), HashMap::new(), ClientUsage::default());
        let log = AppendLog::open(path, |line| {
            let broken = |found: String| Error::Dataset {
                path: path.to_owned(),
                location: format!("line {}", line.number),
                expected: "a recorded reply as a JSON object".to_owned(),
                found,
            };
            let reply: RecordedReply =
                serde_json::from_str(line.text).map_err(|error| broken(error.to_string()))?;
            // Lost replies have no key, but were paid for.
            spent.prompt_tokens += reply.prompt_tokens;
            spent.completion_tokens += reply.completion_tokens;
            spent.cost += reply.cost;
            if !reply.key.is_empty() {
                let key =
                    RequestKey::parse(&reply.key).ok_or_else(|| broken(format!("key `{}`", reply.key)))?;
                // Only where the reply stands is kept in memory: a run may record hundreds of thousands of them.
                replies.entry(key).or_insert(line.offset);
                labels.insert(label_hash(&reply.label), line.offset);
            }
            Ok(())
        })?;
        let reader = fs_err::File::open(path)?;
        Ok(Self { log, reader, replies, labels, spent, synced: Instant::now() })
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.log.path().to_owned()
    }

    /// How many replies are recorded.
    pub fn len(&self) -> usize {
        self.replies.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    /// Tokens and cost of all that is recorded.
    pub fn spent(&self) -> ClientUsage {
        self.spent
    }

    /// The reply to a request.
    ///
    /// # Errors
    /// [`LlmError::Store`] if it cannot be read back.
    pub fn get(&mut self, key: RequestKey) -> Result<Option<ChatReply>, LlmError> {
        let Some(&offset) = self.replies.get(&key) else { return Ok(None) };
        let recorded = self.read(offset)?;
        Ok(Some(ChatReply {
            content: recorded.content,
            refusal: recorded.refusal,
            finish_reason: recorded.finish_reason,
            prompt_tokens: recorded.prompt_tokens,
            completion_tokens: recorded.completion_tokens,
            cost: recorded.cost,
            replayed: true,
        }))
    }

    /// Why there is no reply to a request: nothing of that label was ever asked, or what decides the reply has changed.
    ///
    /// # Errors
    /// [`LlmError::Store`] if a record cannot be read back.
    pub fn why_missing(&mut self, request: &ChatRequest, model: &str) -> Result<String, LlmError> {
        let Some(&offset) = self.labels.get(&label_hash(&request.label)) else {
            return Ok("it was never asked".to_owned());
        };
        let recorded = self.read(offset)?;
        Ok(if recorded.prompt != request.prompt {
            format!("the prompt has changed from {} to {} since", recorded.prompt, request.prompt)
        } else if recorded.model != model {
            format!("the model has changed from {} to {model} since", recorded.model)
        } else {
            "what the prompt was filled with, its schema or a setting has changed since".to_owned()
        })
    }

    /// Records a reply; it survives a killed process from then on.
    ///
    /// # Errors
    /// [`LlmError::Store`].
    pub fn put(&mut self, key: RequestKey, recorded: &RecordedReply) -> Result<(), LlmError> {
        let offset = self.append(recorded)?;
        self.replies.insert(key, offset);
        self.labels.insert(label_hash(&recorded.label), offset);
        Ok(())
    }

    /// Records that an attempt may have been charged for without bringing a reply.
    ///
    /// # Errors
    /// [`LlmError::Store`].
    pub fn put_lost(&mut self, recorded: &RecordedReply) -> Result<(), LlmError> {
        self.append(recorded).map(|_| ())
    }

    /// Forces everything to the disk.
    ///
    /// # Errors
    /// [`LlmError::Store`].
    pub fn sync(&mut self) -> Result<(), LlmError> {
        self.synced = Instant::now();
        self.log.sync().map_err(|error| failed(&error))
    }

    fn append(&mut self, recorded: &RecordedReply) -> Result<u64, LlmError> {
        let offset = self.log.length();
        let line = serde_json::to_string(recorded).map_err(|error| failed(&error))?;
        self.log.append(&line).map_err(|error| failed(&error))?;
        self.spent.prompt_tokens += recorded.prompt_tokens;
        self.spent.completion_tokens += recorded.completion_tokens;
        self.spent.cost += recorded.cost;
        // A sync for every reply would limit fast local servers; a power cut costs a second of replies at most.
        if self.synced.elapsed() > SYNC_INTERVAL {
            self.sync()?;
        }
        Ok(offset)
    }

    fn read(&mut self, offset: u64) -> Result<RecordedReply, LlmError> {
        self.reader.seek(SeekFrom::Start(offset)).map_err(|error| failed(&error))?;
        let mut line = String::new();
        BufReader::new(&mut self.reader).read_line(&mut line).map_err(|error| failed(&error))?;
        serde_json::from_str(&line).map_err(|error| failed(&error))
    }
}

fn failed(error: &dyn std::error::Error) -> LlmError {
    LlmError::Store { reason: error.to_string() }
}

/// Labels are compared by hash: a collision only makes an explanation wrong.
fn label_hash(label: &str) -> u64 {
    let hash = blake3::hash(label.as_bytes());
    hash.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
