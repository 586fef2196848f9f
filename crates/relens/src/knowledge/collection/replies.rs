//! Who answers, a chat model among them, and the log of what was answered.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::json_lines::parse_line;
use super::question::QuestionKind;
use crate::append_log::AppendLog;
use crate::error::{Error, Result};
use crate::llm::structured::{Fault, repair_request};
use crate::llm::{ChatModel, ChatReply, ChatRequest, ReplyForm};

/// Something that answers prompts: a language model. Called on several threads at once.
pub trait AnswerPrompts: Sync {
    /// The reply to `prompt`, one that [`QuestionKind::check`] lets pass.
    ///
    /// # Errors
    /// Nobody answers, or not in a way that can be used.
    fn answer(&self, kind: QuestionKind, prompt: &str) -> Result<Answer>;

    /// Nothing more is wanted: questions on their way may be answered, others are not.
    fn cancel(&self) {}
}

/// A reply and what it cost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The text.
    pub reply: String,
    /// Tokens of the prompt.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens of the reply.
    #[serde(default)]
    pub completion_tokens: u64,
}

/// What all replies of a run have cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AskingUsage {
    /// Questions that a model answered in this run.
    pub asked: u64,
    /// Questions whose reply was there already.
    pub recorded: u64,
    /// Tokens of all prompts, recorded ones included.
    pub prompt_tokens: u64,
    /// Tokens of all replies, recorded ones included.
    pub completion_tokens: u64,
}

#[derive(Serialize, Deserialize)]
struct ReplyLine<'a> {
    prompt: std::borrow::Cow<'a, str>,
    reply: std::borrow::Cow<'a, str>,
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

/// Replies by their prompts, on disk: JSON Lines of `{"prompt", "reply", "prompt_tokens", "completion_tokens"}`.
#[derive(Debug)]
pub struct Replies {
    log: AppendLog,
    known: HashMap<String, Answer>,
}

impl Replies {
    /// Opens or creates the log.
    ///
    /// # Errors
    /// [`Error::Dataset`] naming line and field; [`Error::Busy`] while another process writes to it; [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let mut known = HashMap::new();
        let log = AppendLog::open(path, |recorded| {
            let line: ReplyLine<'_> = parse_line(path, recorded.number, recorded.text)?;
            let ReplyLine { prompt, reply, prompt_tokens, completion_tokens } = line;
            let answer = Answer { reply: reply.into_owned(), prompt_tokens, completion_tokens };
            known.insert(prompt.into_owned(), answer);
            Ok(())
        })?;
        Ok(Self { log, known })
    }

    /// Tokens of all recorded prompts and of all recorded replies.
    pub fn tokens(&self) -> (u64, u64) {
        let all = self.known.values();
        all.fold((0, 0), |(prompts, replies), answer| {
            (prompts + answer.prompt_tokens, replies + answer.completion_tokens)
        })
    }

    /// The recorded reply to a prompt.
    pub fn get(&self, prompt: &str) -> Option<&Answer> {
        self.known.get(prompt)
    }

    /// Records a reply.
    ///
    /// # Errors
    /// [`Error::Io`], and then the reply is not recorded.
    pub fn insert(&mut self, prompt: &str, answer: Answer) -> Result<()> {
        let line = ReplyLine {
            prompt: prompt.into(),
            reply: answer.reply.as_str().into(),
            prompt_tokens: answer.prompt_tokens,
            completion_tokens: answer.completion_tokens,
        };
        self.log.append(&serde_json::to_string(&line).map_err(std::io::Error::from)?)?;
        self.known.insert(prompt.to_owned(), answer);
        Ok(())
    }
}

/// Answers nothing: all replies have to be recorded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recorded;

impl AnswerPrompts for Recorded {
    fn answer(&self, _: QuestionKind, prompt: &str) -> Result<Answer> {
        let asked = prompt.rsplit("Question: ").next().unwrap_or_default();
        Err(Error::Enhancer {
            enhancer: "knowledge base".to_owned(),
            reason: format!(
                "expected a recorded reply to `{}…`, found none; a language model has to be asked",
                asked.chars().take(80).collect::<String>()
            ),
        })
    }
}

/// Ten candidates with six descriptions each take about a thousand tokens.
const LONGEST_REPLY: u32 = 3000;
/// How often a reply that cannot be used is asked for again, the model being told what was wrong with it.
const REPAIRS: usize = 2;
/// How much of a question names it in errors.
const EXCERPT: usize = 40;

/// Asks a chat model. What it answers is checked before anybody records it.
pub struct ChatAnswers<'a> {
    model: &'a dyn ChatModel,
}

impl<'a> ChatAnswers<'a> {
    /// Asks `model`.
    pub fn new(model: &'a dyn ChatModel) -> Self {
        Self { model }
    }
}

impl AnswerPrompts for ChatAnswers<'_> {
    fn answer(&self, kind: QuestionKind, prompt: &str) -> Result<Answer> {
        let mut request = request(kind, prompt);
        let mut answer = Answer::default();
        for repairs in 0.. {
            let reply = self.model.ask(request.clone()).map_err(|error| refused(&error.to_string()))?;
            answer.prompt_tokens += reply.prompt_tokens;
            answer.completion_tokens += reply.completion_tokens;
            let fault = match usable(kind, prompt, &reply) {
                Ok(()) => return Ok(Answer { reply: reply.content, ..answer }),
                Err(fault) => fault,
            };
            if repairs == REPAIRS {
                let label = &request.label;
                return Err(refused(&format!(
                    "{label}: no reply that can be used; of the last one: {fault}"
                )));
            }
            request = repair_request(&request, &reply, &fault);
        }
        Ok(answer)
    }

    fn cancel(&self) {
        self.model.cancel();
    }
}

fn request(kind: QuestionKind, prompt: &str) -> ChatRequest {
    let asked = prompt.rsplit("Question: ").next().unwrap_or_default();
    let label = format!("{} of `{}…`", kind.name(), asked.chars().take(EXCERPT).collect::<String>());
    ChatRequest {
        prompt: kind.name().to_owned(),
        form: ReplyForm::Json { name: kind.name().to_owned(), schema: kind.schema() },
        max_tokens: LONGEST_REPLY,
        ..ChatRequest::new(&label, prompt)
    }
}

fn usable(kind: QuestionKind, prompt: &str, reply: &ChatReply) -> std::result::Result<(), Fault> {
    if let Some(refusal) = &reply.refusal {
        return Err(Fault::Refused(refusal.clone()));
    }
    if reply.content.trim().is_empty() {
        return Err(Fault::Empty);
    }
    kind.check(prompt, &reply.content).map_err(|error| Fault::WrongShape(error.to_string()))
}

fn refused(reason: &str) -> Error {
    Error::Enhancer { enhancer: "knowledge base".to_owned(), reason: reason.to_owned() }
}
