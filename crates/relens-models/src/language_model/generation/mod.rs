//! Continuing prompts with a language model: greedy, sampled, by beam search; one prompt or hundreds at a time.
//!
//! [`generate`] drives any [`LanguageModel`]'s decoder. Prompts of different lengths need no padding, and rows that are
//! through leave the batch, so that the others get all of the time. Every sequence carries the log-probability that
//! the model gave to each of its tokens.

mod beam;
mod choice;
mod config;
mod row;
mod speculation;
mod token_by_token;

use choice::Choice;
pub use config::{BeamConfig, CopySpeculation, GenerationConfig, SamplingConfig, Strategy};
pub use row::GeneratedSequence;

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
