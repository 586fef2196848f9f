//! Questions, several at a time, none twice.

use std::collections::HashSet;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::question::QuestionKind;
use super::replies::{Answer, AnswerPrompts, AskingUsage, Replies};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// How long replies are waited for before who watches is asked again whether to go on.
const LOOK_UP: Duration = Duration::from_millis(200);

/// A model, its recorded replies and who watches.
pub struct Asking<'a> {
    model: &'a dyn AnswerPrompts,
    replies: &'a mut Replies,
    progress: &'a mut dyn Progress,
    usage: AskingUsage,
}

impl<'a> Asking<'a> {
    /// Asks `model` what `replies` do not have.
    pub fn new(
        model: &'a dyn AnswerPrompts,
        replies: &'a mut Replies,
        progress: &'a mut dyn Progress,
    ) -> Self {
        Self { model, replies, progress, usage: AskingUsage::default() }
    }

    /// What it cost so far.
    pub fn usage(&self) -> AskingUsage {
        self.usage
    }

    /// The replies to `questions`, in order. Each is recorded as soon as it is there.
    pub(super) fn ask(
        &mut self,
        kind: QuestionKind,
        questions: &[String],
        concurrency: usize,
    ) -> Result<Vec<String>> {
        let mut seen = HashSet::new();
        let different: Vec<&str> =
            questions.iter().map(String::as_str).filter(|question| seen.insert(*question)).collect();
        let (known, missing): (Vec<&str>, Vec<&str>) =
            different.iter().partition(|question| self.replies.get(question).is_some());
        for question in &known {
            if let Some(answer) = self.replies.get(question) {
                self.usage.recorded += 1;
                self.usage.prompt_tokens += answer.prompt_tokens;
                self.usage.completion_tokens += answer.completion_tokens;
            }
        }
        self.progress.begin(kind.name(), different.len() as u64);
        self.progress.advance(known.len() as u64);
        self.ask_missing(kind, &missing, known.len() as u64, concurrency)?;
        self.progress.end();
        let reply = |question: &String| {
            self.replies.get(question).map(|answer| answer.reply.clone()).ok_or(Error::Cancelled)
        };
        questions.iter().map(reply).collect()
    }

    /// The first error stops the threads once they have finished what they have asked; those replies are kept, too.
    fn ask_missing(
        &mut self,
        kind: QuestionKind,
        missing: &[&str],
        known: u64,
        concurrency: usize,
    ) -> Result<()> {
        let queue = Mutex::new(missing.iter());
        let model = self.model;
        let mut outcome = Ok(());
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..concurrency.clamp(1, missing.len().max(1)) {
                let (sender, queue) = (sender.clone(), &queue);
                scope.spawn(move || {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(&question) = next else { break };
                        if sender.send((question, model.answer(kind, question))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let mut done = known;
            loop {
                let mut result = match receiver.recv_timeout(LOOK_UP) {
                    Ok((question, answer)) => answer.and_then(|answer| self.record(question, answer)),
                    // Whoever watches may want to stop while everybody waits.
                    Err(RecvTimeoutError::Timeout) => Ok(false),
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if matches!(result, Ok(true)) {
                    done += 1;
                    self.progress.advance(done);
                    self.log(kind, done);
                }
                if self.progress.cancelled() {
                    result = result.and(Err(Error::Cancelled));
                }
                if let Err(error) = result
                    && outcome.is_ok()
                {
                    *queue.lock().unwrap_or_else(PoisonError::into_inner) = [].iter();
                    model.cancel();
                    outcome = Err(error);
                }
            }
        });
        outcome
    }

    fn log(&self, kind: QuestionKind, done: u64) {
        let AskingUsage { asked, recorded, prompt_tokens, completion_tokens } = self.usage;
        tracing::info!(task = kind.name(), done, asked, recorded, prompt_tokens, completion_tokens);
    }

    /// Keeps a reply; whether there is one, which is always so.
    fn record(&mut self, question: &str, answer: Answer) -> Result<bool> {
        self.usage.asked += 1;
        self.usage.prompt_tokens += answer.prompt_tokens;
        self.usage.completion_tokens += answer.completion_tokens;
        self.replies.insert(question, answer).map(|()| true)
    }
}
