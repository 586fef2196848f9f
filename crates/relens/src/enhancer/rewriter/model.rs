//! The language model behind the rewriter: queries in, rewrites out.

use std::path::Path;
use std::sync::Arc;

use relens_models::language_model::generation::{
    BeamConfig, CopySpeculation, GeneratedSequence, GenerationConfig, SamplingConfig, Strategy, generate,
};
use relens_models::language_model::{self, LanguageModel};
use relens_models::tokenizer::{TokenBatch, Tokenizer};
use serde::{Deserialize, Serialize};

use super::super::Query;
use super::prompt::PromptBuilder;
use super::settings::{DecodingConfig, DecodingMethod, RewriterModelConfig};
use crate::embed::TextEmbedder;
use crate::error::Result;
use crate::knowledge::Knowledge;

/// What vocabularies call a piece that they lack.
const UNKNOWN: [&str; 2] = ["[UNK]", "<unk>"];
/// Prompts that are continued at once.
const PROMPTS: usize = 128;

/// A text that the language model wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rewrite {
    /// The text.
    pub text: String,
    /// The mean log-probability of its tokens.
    pub mean_log_prob: f32,
}

/// A language model with its tokenizer and prompts.
pub struct RewriterModel {
    model: Box<dyn LanguageModel>,
    tokenizer: Tokenizer,
    /// The tokens for what the vocabulary lacks.
    unknown: Vec<u32>,
    prompts: PromptBuilder,
    decoding: DecodingConfig,
}

impl RewriterModel {
    /// Opens a directory in Hugging Face's layout, to be used as `settings` say.
    ///
    /// # Errors
    /// A file is missing or malformed; the knowledge base, where the prompt asks for it, cannot be opened.
    pub fn open(
        directory: &Path,
        settings: &RewriterModelConfig,
        knowledge: impl FnOnce() -> Result<Arc<Knowledge>>,
        embedder: Option<Arc<dyn TextEmbedder>>,
    ) -> Result<Self> {
        let (model, _) = language_model::open(directory)?;
        let context = settings.prompt.max_tokens.min(model.context_length());
        let tokenizer = Tokenizer::open(directory, context)?;
        Ok(Self {
            unknown: UNKNOWN.iter().filter_map(|token| tokenizer.token_id(token)).collect(),
            tokenizer,
            model,
            prompts: PromptBuilder::new(&settings.prompt, knowledge, embedder)?,
            decoding: settings.decoding,
        })
    }

    /// What the language model would read for queries.
    ///
    /// # Errors
    /// Those of [`PromptBuilder::prompts`].
    pub fn prompts(&self, queries: &[Query]) -> Result<Vec<String>> {
        self.prompts.prompts(queries)
    }

    /// How much of what a query is about is unfamiliar to the retriever, 0 to 1; none where prompts have no glosses.
    pub fn unfamiliarity(&self, query: &Query) -> Option<f32> {
        Some(self.prompts.glosses()?.of(query.text()).unfamiliarity)
    }

    /// Whether the vocabulary has every character of a prompt.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn can_read(&self, prompt: &str) -> Result<bool> {
        Ok(self.readable(&self.tokenizer.encode_batch(&[prompt])?, 0))
    }

    /// Whether a text of a batch is whole and has no token that stands for something unknown.
    fn readable(&self, tokens: &TokenBatch, index: usize) -> bool {
        let cut = tokens.truncated.get(index).copied().unwrap_or(true);
        let unknown = |id: &u32| self.unknown.contains(id);
        !cut && tokens.sequence(index).is_some_and(|ids| !ids.iter().any(unknown))
    }

    /// The rewrites of prompts, in order, best first; different ones only, and none where the model wrote
    /// nothing, the prompt is longer than the context, or the vocabulary lacks its characters.
    ///
    /// A prompt's rewrites do not depend on the others.
    ///
    /// # Errors
    /// Those of the language model.
    pub fn rewrite(&self, prompts: &[&str]) -> Result<Vec<Vec<Rewrite>>> {
        // Where tokens are drawn, the place in the batch would decide.
        let at_once = if self.decoding.method == DecodingMethod::Sample { 1 } else { PROMPTS };
        let config = generation(&self.decoding);
        let mut rewrites = Vec::with_capacity(prompts.len());
        for prompts in prompts.chunks(at_once) {
            let tokens = self.tokenizer.encode_batch(prompts)?;
            for (index, sequences) in generate(&*self.model, &tokens, &config)?.into_iter().enumerate() {
                // What lost its end, or a word of it, asks for something else than the person did.
                let whole = self.readable(&tokens, index);
                rewrites.push(if whole { self.texts(&sequences)? } else { Vec::new() });
            }
        }
        Ok(rewrites)
    }

    fn texts(&self, sequences: &[GeneratedSequence]) -> Result<Vec<Rewrite>> {
        let mut rewrites: Vec<Rewrite> = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            let text = self.tokenizer.decode(sequence.content())?;
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            if !text.is_empty() && rewrites.iter().all(|rewrite| rewrite.text != text) {
                let total: f32 = sequence.log_probs.iter().sum();
                let mean_log_prob = total / sequence.log_probs.len().max(1) as f32;
                rewrites.push(Rewrite { text, mean_log_prob });
            }
        }
        Ok(rewrites)
    }
}

fn generation(decoding: &DecodingConfig) -> GenerationConfig {
    let strategy = match decoding.method {
        DecodingMethod::Greedy => Strategy::Greedy,
        DecodingMethod::Beam => Strategy::Beam(BeamConfig {
            beams: decoding.beams.max(decoding.rewrites),
            ..BeamConfig::default()
        }),
        DecodingMethod::Sample => Strategy::Sample(SamplingConfig {
            temperature: decoding.temperature as f32,
            top_p: decoding.top_p as f32,
            ..SamplingConfig::default()
        }),
    };
    GenerationConfig {
        max_new_tokens: decoding.max_tokens,
        sequences: if decoding.method == DecodingMethod::Greedy { 1 } else { decoding.rewrites },
        // A rewrite repeats most of its query; the output is the same.
        copy_speculation: (decoding.method == DecodingMethod::Greedy).then(CopySpeculation::default),
        strategy,
        seed: decoding.seed,
        ..GenerationConfig::default()
    }
}
