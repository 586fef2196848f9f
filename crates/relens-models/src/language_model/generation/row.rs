//! A sequence while it grows, and when it is through.

use super::choice::Choice;

/// What was written after a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedSequence {
    /// The tokens; the last one is the one that ended the sequence, if it is finished.
    pub tokens: Vec<u32>,
    /// log π(token | prompt, tokens before it) of every token, under the model itself: no temperature, nothing left
    /// out.
    pub log_probs: Vec<f32>,
    /// Whether a stop id ended it; otherwise it was cut at the largest length.
    pub finished: bool,
    /// What sequences of one prompt are ranked by: with beam search the log-probability over length to the power of
    /// the length penalty, else the log-probability.
    pub score: f32,
}

impl GeneratedSequence {
    /// The tokens without the one that ended the sequence.
    pub fn content(&self) -> &[u32] {
        match self.tokens.split_last() {
            Some((_, content)) if self.finished => content,
            _ => &self.tokens,
        }
    }

    /// Whether the model ended the sequence before it wrote anything.
    pub fn is_empty(&self) -> bool {
        self.content().is_empty()
    }
}

/// A sequence that grows.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Which prompt it continues.
    pub(super) prompt: usize,
    pub(super) tokens: Vec<u32>,
    pub(super) log_probs: Vec<f32>,
    /// The most tokens that it may get.
    pub(super) most: usize,
    finished: bool,
}

impl Row {
    pub(super) fn new(prompt: usize, most: usize) -> Self {
        Self { prompt, tokens: Vec::new(), log_probs: Vec::new(), most, finished: false }
    }

    /// Adds a token, and says whether the row is through.
    pub(super) fn push(&mut self, choice: Choice, stops: &[u32]) -> bool {
        self.tokens.push(choice.token);
        self.log_probs.push(choice.log_prob);
        self.finished = stops.contains(&choice.token);
        self.is_through()
    }

    pub(super) fn is_through(&self) -> bool {
        self.finished || self.tokens.len() >= self.most
    }

    pub(super) fn into_sequence(self) -> GeneratedSequence {
        let score = self.log_probs.iter().sum();
        GeneratedSequence { tokens: self.tokens, log_probs: self.log_probs, finished: self.finished, score }
    }
}
