//! A chat model as the one who answers.

use super::question::QuestionKind;
use super::replies::{Answer, AnswerPrompts};
use crate::error::{Error, Result};
use crate::llm::structured::{Fault, repair_request};
use crate::llm::{ChatModel, ChatReply, ChatRequest, ReplyForm};

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
