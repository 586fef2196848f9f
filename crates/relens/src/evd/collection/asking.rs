//! Questions, several at a time, none twice.

use std::collections::HashSet;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};

use super::replies::{AnswerPrompts, Replies, Usage};
use crate::error::{Error, Result};

/// Told of every reply.
pub trait Progress {
    /// `done` of the `total` questions about `what` are answered; `usage` is that of the whole run. Returns whether to
    /// go on.
    fn advance(&mut self, what: &str, done: usize, total: usize, usage: &Usage) -> bool;
}

/// A model, its recorded replies and who watches.
pub struct Asking<'a> {
    model: &'a dyn AnswerPrompts,
    replies: &'a mut Replies,
    progress: &'a mut dyn Progress,
    usage: Usage,
}

impl<'a> Asking<'a> {
    /// Asks `model` what `replies` do not have.
    pub fn new(
        model: &'a dyn AnswerPrompts,
        replies: &'a mut Replies,
        progress: &'a mut dyn Progress,
    ) -> Self {
        Self { model, replies, progress, usage: Usage::default() }
    }

    /// What it cost so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// The replies to `questions`, in order. Each is recorded as soon as it is there.
    pub(super) fn ask(
        &mut self,
        what: &str,
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
        self.progress.advance(what, known.len(), different.len(), &self.usage);
        self.ask_missing(what, &missing, known.len(), concurrency)?;
        let reply = |question: &String| {
            self.replies.get(question).map(|answer| answer.reply.clone()).ok_or(Error::Cancelled)
        };
        questions.iter().map(reply).collect()
    }

    /// The first error stops the threads once they have finished what they have asked; those replies are kept, too.
    fn ask_missing(&mut self, what: &str, missing: &[&str], known: usize, concurrency: usize) -> Result<()> {
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
                        if sender.send((question, model.answer(question))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let stop = || *queue.lock().unwrap_or_else(PoisonError::into_inner) = [].iter();
            let mut done = known;
            for (question, answer) in receiver {
                let recorded = answer.and_then(|answer| {
                    self.usage.asked += 1;
                    self.usage.prompt_tokens += answer.prompt_tokens;
                    self.usage.completion_tokens += answer.completion_tokens;
                    self.replies.insert(question, answer)
                });
                done += usize::from(recorded.is_ok());
                let go_on = self.progress.advance(what, done, known + missing.len(), &self.usage);
                let recorded = if go_on { recorded } else { recorded.and(Err(Error::Cancelled)) };
                if let Err(error) = recorded {
                    stop();
                    if outcome.is_ok() {
                        outcome = Err(error);
                    }
                }
            }
        });
        outcome
    }
}
