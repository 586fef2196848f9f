//! The language model behind the rewriter: queries in, rewrites out.

use std::path::Path;
use std::sync::Arc;

use relens_models::language_model::generation::{
    BeamConfig, CopySpeculation, GeneratedSequence, GenerationConfig, SamplingConfig, Strategy, generate,
};
use relens_models::language_model::{self, LanguageModel};
use relens_models::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use super::super::Query;
use super::prompt::PromptBuilder;
use super::settings::{DecodingConfig, DecodingMethod, RewriterModelConfig};
use crate::embed::TextEmbedder;
use crate::error::Result;
use crate::knowledge::Knowledge;

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
        Ok(Self {
            tokenizer: Tokenizer::open(directory, context)?,
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

    /// The rewrites of prompts, in order, best first; different ones only, and none where the model wrote
    /// nothing or the prompt is longer than the context.
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
            let cut = tokens.truncated.clone();
            for (sequences, cut) in generate(&*self.model, &tokens, &config)?.into_iter().zip(cut) {
                // What lost its end asks for something else than the person did.
                rewrites.push(if cut { Vec::new() } else { self.texts(&sequences)? });
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
