//! How to continue.

use serde::{Deserialize, Serialize};

use crate::{ModelError, Result};

/// The largest number of sequences, beams or new tokens that can be asked for.
const MOST: usize = 1 << 16;

/// How to continue prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerationConfig {
    /// The most tokens of a sequence, the one that ends it included. Default 64; the context may allow fewer.
    pub max_new_tokens: usize,
    /// How tokens are chosen. Default greedy.
    pub strategy: Strategy,
    /// How many sequences every prompt gets. Default 1; greedy gives only one, beam search at most one for each beam.
    pub sequences: usize,
    /// Ids that end a sequence, beside those of the model. Default none.
    pub stop_ids: Vec<u32>,
    /// Where sampling begins its random numbers. Default 0; the same seed gives the same sequences.
    pub seed: u64,
    /// Whether greedy search guesses ahead by copying from the prompt; the output is the same. Default no.
    pub copy_speculation: Option<CopySpeculation>,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            max_new_tokens: 64,
            strategy: Strategy::Greedy,
            sequences: 1,
            stop_ids: Vec::new(),
            seed: 0,
            copy_speculation: None,
        }
    }
}

/// How tokens are chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Always the most likely token.
    Greedy,
    /// Drawn from the model's probabilities.
    Sample(SamplingConfig),
    /// The most likely sequences that a search of limited width finds.
    Beam(BeamConfig),
}

/// How tokens are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingConfig {
    /// What scores are divided by. Default 1, above 0; lower prefers likely tokens more.
    pub temperature: f32,
    /// Draw only from so many most likely tokens (Fan et al., 2018). Default 0: all.
    pub top_k: usize,
    /// Draw only from the most likely tokens that together have this probability (Holtzman et al., 2020). Default 1:
    /// all; above 0.
    pub top_p: f32,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0 }
    }
}

/// How wide a beam search is, and what it prefers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BeamConfig {
    /// Sequences that are followed at once, in all groups together. Default 4.
    pub beams: usize,
    /// Groups that search beside each other and avoid each other's tokens (diverse beam search, Vijayakumar et al.,
    /// 2018); a divisor of `beams`. Default 1.
    pub groups: usize,
    /// What a token's log-probability loses in the choice of a group for every beam of the groups before it that
    /// chose the same token in the same step. Default 0; at least 0. The scores of the results are without it.
    pub diversity_penalty: f32,
    /// The score of a sequence is its log-probability divided by its length to this power. Default 1: the mean;
    /// above prefers longer sequences.
    pub length_penalty: f32,
    /// Whether to stop as soon as there are as many finished sequences as beams, even if one still going could be
    /// better. Default no.
    pub early_stopping: bool,
}

impl Default for BeamConfig {
    fn default() -> Self {
        Self { beams: 4, groups: 1, diversity_penalty: 0.0, length_penalty: 1.0, early_stopping: false }
    }
}

/// Guessing ahead by copying from the prompt, which a rewrite mostly does: what follows in the prompt after the last
/// few tokens is fed together with them, and kept as far as it is what greedy search would have chosen (a form of
/// Leviathan et al., 2023, whose draft model is the prompt).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CopySpeculation {
    /// The most tokens that are guessed at once. Default 8.
    pub draft_tokens: usize,
    /// The most last tokens that are looked for in the prompt. Default 3.
    pub longest_match: usize,
    /// How many tokens of the prompt stand before what is likely to be copied. Default 0.
    pub first: usize,
}

impl Default for CopySpeculation {
    fn default() -> Self {
        Self { draft_tokens: 8, longest_match: 3, first: 0 }
    }
}

impl GenerationConfig {
    /// Refuses settings outside of their range.
    ///
    /// # Errors
    /// The setting, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        at_least_one("max_new_tokens", self.max_new_tokens)?;
        at_least_one("sequences", self.sequences)?;
        if let Some(copy) = &self.copy_speculation {
            at_least_one("copy_speculation.draft_tokens", copy.draft_tokens)?;
            at_least_one("copy_speculation.longest_match", copy.longest_match)?;
        }
        match &self.strategy {
            Strategy::Greedy if self.sequences > 1 => {
                refuse("sequences", "1 with greedy search", &self.sequences)
            }
            Strategy::Greedy => Ok(()),
            Strategy::Sample(sampling) => sampling.check(),
            Strategy::Beam(beam) => beam.check(self.sequences),
        }
    }
}

impl SamplingConfig {
    fn check(&self) -> Result<()> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return refuse("temperature", "above 0", &self.temperature);
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse("top_p", "above 0, at most 1", &self.top_p);
        }
        Ok(())
    }
}

impl BeamConfig {
    fn check(&self, sequences: usize) -> Result<()> {
        at_least_one("beams", self.beams)?;
        if self.groups == 0 || !self.beams.is_multiple_of(self.groups) {
            return refuse("groups", &format!("a divisor of the {} beams", self.beams), &self.groups);
        }
        if !(self.diversity_penalty >= 0.0 && self.diversity_penalty.is_finite()) {
            return refuse("diversity_penalty", "at least 0", &self.diversity_penalty);
        }
        if !self.length_penalty.is_finite() {
            return refuse("length_penalty", "a number", &self.length_penalty);
        }
        if sequences > self.beams {
            return refuse("sequences", &format!("at most the {} beams", self.beams), &sequences);
        }
        Ok(())
    }
}

fn at_least_one(setting: &str, value: usize) -> Result<()> {
    if (1..=MOST).contains(&value) {
        return Ok(());
    }
    refuse(setting, &format!("1 to {MOST}"), &value)
}

fn refuse(setting: &str, expected: &str, found: &dyn std::fmt::Display) -> Result<()> {
    Err(ModelError::Argument {
        operation: "generate",
        expected: format!("`{setting}`: {expected}"),
        found: found.to_string(),
    })
}
