//! What reinforcement learning lets the policy do: the queries it rewrites, what it writes by itself, and the frozen
//! reference that it is held to.

use relens_models::language_model::generation::{
    GeneratedSequence, GenerationConfig, SamplingConfig, Strategy, generate,
};
use relens_models::language_model::{self, LanguageModel};
use relens_models::tokenizer::TokenBatch;

use super::config::PolicyConfig;
use super::experience::RolloutQuery;
use super::policy::Policy;
use crate::Result;
use crate::data::candidates::{self, CandidateConfig};
use crate::data::corpus::RewritingCorpus;

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

/// The frozen policy that the penalty measures the distance to.
pub(crate) struct ReferencePolicy {
    model: Box<dyn LanguageModel>,
}

impl ReferencePolicy {
    /// The rewriter that the run starts from.
    pub(crate) fn open(settings: &PolicyConfig) -> Result<Self> {
        let (model, _) = language_model::open(&settings.start_from)?;
        Ok(Self { model })
    }

    /// Its language model.
    pub(crate) fn model(&self) -> &dyn LanguageModel {
        &*self.model
    }
}

/// The queries of candidate files, or all training captions where there are none.
pub(crate) fn rollout_queries(
    sources: Option<&CandidateConfig>,
    corpus: &RewritingCorpus,
) -> Result<Vec<RolloutQuery>> {
    if let Some(sources) = sources {
        let queries = candidates::read(sources, corpus)?;
        return Ok(queries
            .into_iter()
            .map(|query| RolloutQuery { text: query.query, picture: query.picture })
            .collect());
    }
    let captions = corpus.training.iter().enumerate().flat_map(|(picture, of)| {
        of.captions.iter().map(move |caption| RolloutQuery { text: caption.clone(), picture })
    });
    Ok(captions.collect())
}
