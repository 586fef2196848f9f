//! Continuing prompts with a language model: greedy, sampled, by beam search; one prompt or hundreds at a time.
//!
//! [`generate`] drives any [`LanguageModel`]'s decoder. Prompts of different lengths need no padding, and rows that are
//! through leave the batch, so that the others get all of the time. Every sequence carries the log-probability that
//! the model gave to each of its tokens.

mod beam;
mod choice;
mod config;
mod speculation;
mod token_by_token;

use choice::TokenChoice;
pub use config::{BeamConfig, CopySpeculation, GenerationConfig, SamplingConfig, Strategy};

use crate::Result;
use crate::language_model::LanguageModel;
use crate::tokenizer::TokenBatch;

/// Continues every prompt: for each of them [`GenerationConfig::sequences`] sequences, by beam search the best first.
///
/// What a prompt gets does not depend on the others in the batch; with sampling, it depends on its place among them.
///
/// # Errors
/// A setting is out of its range; a prompt is empty or too long; the model gives a score that is not a number. The
/// latter two are [`ModelError::Sample`](crate::ModelError::Sample) with the prompt's place.
pub fn generate(
    model: &dyn LanguageModel,
    prompts: &TokenBatch,
    config: &GenerationConfig,
) -> Result<Vec<Vec<GeneratedSequence>>> {
    config.check()?;
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let mut stops = model.end_of_sequence().to_vec();
    stops.extend_from_slice(&config.stop_ids);
    match (&config.strategy, config.copy_speculation) {
        (Strategy::Greedy, None) => token_by_token::generate(model, prompts, config, None, &stops),
        (Strategy::Greedy, Some(copy)) => speculation::generate(model, prompts, config, copy, &stops),
        (Strategy::Sample(sampling), _) => {
            token_by_token::generate(model, prompts, config, Some(sampling), &stops)
        }
        (Strategy::Beam(beam), _) => beam::generate(model, prompts, config, beam, &stops),
    }
}

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
struct GrowingRow {
    /// Which prompt it continues.
    prompt: usize,
    tokens: Vec<u32>,
    log_probs: Vec<f32>,
    /// The most tokens that it may get.
    most: usize,
    finished: bool,
}

impl GrowingRow {
    fn new(prompt: usize, most: usize) -> Self {
        Self { prompt, tokens: Vec::new(), log_probs: Vec::new(), most, finished: false }
    }

    /// Adds a token, and says whether the row is through.
    fn push(&mut self, choice: TokenChoice, stops: &[u32]) -> bool {
        self.tokens.push(choice.token);
        self.log_probs.push(choice.log_prob);
        self.finished = stops.contains(&choice.token);
        self.is_through()
    }

    fn is_through(&self) -> bool {
        self.finished || self.tokens.len() >= self.most
    }

    fn into_sequence(self) -> GeneratedSequence {
        let score = self.log_probs.iter().sum();
        GeneratedSequence { tokens: self.tokens, log_probs: self.log_probs, finished: self.finished, score }
    }
}
