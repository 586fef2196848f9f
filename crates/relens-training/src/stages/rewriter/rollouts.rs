//! What the policy writes by itself.

use relens_models::language_model::generation::{
    GeneratedSequence, GenerationConfig, SamplingConfig, Strategy, generate,
};
use relens_models::tokenizer::TokenBatch;

use super::policy::Policy;
use crate::Result;

/// Prompts that are continued at once.
const PROMPTS: usize = 128;

/// How rollouts are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampling {
    pub(crate) temperature: f64,
    pub(crate) top_p: f64,
    pub(crate) most_tokens: usize,
    pub(crate) seed: u64,
    pub(crate) step: u64,
}

/// The likeliest rewrites of queries, in order; an empty text where the policy wrote none.
pub(crate) fn rewrite_greedily(policy: &Policy, queries: &[&str]) -> Result<Vec<String>> {
    let mut rewrites = Vec::with_capacity(queries.len());
    let max_new_tokens = policy.settings().decoding.max_tokens;
    let config = GenerationConfig { max_new_tokens, ..GenerationConfig::default() };
    for queries in queries.chunks(PROMPTS) {
        let prompts = policy.prompts(queries)?;
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        for sequences in generate(policy.model(), &policy.encode_prompts(&prompts)?, &config)? {
            let ids = sequences.first().map_or(&[][..], GeneratedSequence::content);
            rewrites.push(policy.decode(ids)?);
        }
    }
    Ok(rewrites)
}

/// Samples `sequences` continuations of every prompt, those of the first prompt first.
pub(crate) fn sample(
    policy: &Policy,
    prompts: &TokenBatch,
    sequences: usize,
    sampling: Sampling,
) -> Result<Vec<GeneratedSequence>> {
    let config = GenerationConfig {
        max_new_tokens: sampling.most_tokens,
        strategy: Strategy::Sample(SamplingConfig {
            temperature: sampling.temperature as f32,
            top_p: sampling.top_p as f32,
            ..SamplingConfig::default()
        }),
        sequences,
        // Every step draws anew, and a resumed run draws what the uninterrupted one would have drawn.
        seed: sampling.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(sampling.step),
        ..GenerationConfig::default()
    };
    Ok(generate(policy.model(), prompts, &config)?.into_iter().flatten().collect())
}
