//! What is asked and what is answered.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::error::LlmError;
use super::image_part;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Says how the model should behave.
    System,
    /// Asks.
    User,
    /// Has answered.
    Assistant,
}

impl Role {
    /// The name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Text(String),
    /// A picture on disk.
    Image(PathBuf),
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said and shown, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A message of text alone.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::Text(text.into())] }
    }
}

/// What a reply has to be.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplyForm {
    /// Any text.
    Text,
    /// One JSON object.
    Json {
        /// A name for the schema.
        name: String,
        /// The JSON Schema.
        schema: Value,
    },
}

/// A request; label and prompt name it in records and errors, everything else decides the reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// What it is for, such as `challenge 12.jpg#3 turn 1`.
    pub label: String,
    /// The prompt's name and version, or nothing.
    pub prompt: String,
    /// The conversation.
    pub messages: Vec<Message>,
    /// What the reply has to be.
    pub form: ReplyForm,
    /// How freely the model chooses; default 0.
    pub temperature: f32,
    /// Where its choice begins, for endpoints that know seeds; default 0.
    pub seed: u64,
    /// The longest reply in tokens; default 512.
    pub max_tokens: u32,
}

impl ChatRequest {
    /// A question, to be answered by any text.
    pub fn new(label: &str, question: &str) -> Self {
        Self {
            label: label.to_owned(),
            prompt: String::new(),
            messages: vec![Message::text(Role::User, question)],
            form: ReplyForm::Text,
            temperature: 0.0,
            seed: 0,
            max_tokens: 512,
        }
    }

    /// The key under which the reply of `model` is recorded: pictures count by their content, not by their place.
    ///
    /// # Errors
    /// [`LlmError::Picture`] if one cannot be read.
    pub fn key(&self, model: &str) -> Result<RequestKey, LlmError> {
        let mut messages = Vec::with_capacity(self.messages.len());
        for message in &self.messages {
            let mut parts = Vec::with_capacity(message.parts.len());
            for part in &message.parts {
                parts.push(match part {
                    Part::Text(text) => json!({"text": text}),
                    // By content: a picture that was moved is still the same question, one that was replaced is not.
                    Part::Image(path) => json!({"image": image_part::content_hash(path)?}),
                });
            }
            messages.push(json!({"role": message.role.name(), "parts": parts}));
        }
        let form = match &self.form {
            ReplyForm::Text => Value::Null,
            ReplyForm::Json { name, schema } => json!({"name": name, "schema": schema}),
        };
        let all = json!({
            "model": model, "messages": messages, "form": form,
            "temperature": self.temperature, "seed": self.seed, "max_tokens": self.max_tokens,
        });
        let hash = blake3::hash(all.to_string().as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(hash.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]));
        Ok(RequestKey(key))
    }

    /// A generous guess at the prompt's tokens, from which budgets are kept: three bytes a token, 1,600 a picture.
    pub fn estimated_prompt_tokens(&self) -> u64 {
        let part = |part: &Part| match part {
            // English has about four bytes a token; three leave room for other scripts.
            Part::Text(text) => text.len() as u64 / 3 + 1,
            Part::Image(_) => 1600,
        };
        self.messages.iter().map(|message| 8 + message.parts.iter().map(part).sum::<u64>()).sum()
    }
}

/// The hash of all that decides a reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey(pub(super) [u8; 16]);

impl RequestKey {
    /// Reads what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut key = [0; 16];
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        for (byte, position) in key.iter_mut().zip((0..32).step_by(2)) {
            *byte = u8::from_str_radix(text.get(position..position + 2)?, 16).ok()?;
        }
        Some(Self(key))
    }
}

impl fmt::Display for RequestKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RequestKey({self})")
    }
}

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatReply {
    /// What the model said; empty if it said nothing.
    pub content: String,
    /// Why it refused, where the endpoint says so apart from the content.
    pub refusal: Option<String>,
    /// Why it stopped: `stop`, `length`, ….
    pub finish_reason: String,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the reply.
    pub completion_tokens: u64,
    /// What it cost when it was asked.
    pub cost: f64,
    /// Whether it comes from the records.
    pub replayed: bool,
}
