//! What the policy writes by itself.

use candle_core::Tensor;
use rand::{Rng, RngExt};
use relens_models::language_model::LanguageModel;
use relens_models::tokenizer::TokenBatch;

use super::policy::Policy;
use crate::Result;
use crate::random::stream;

/// Prompts that are continued at once.
const PROMPTS: usize = 128;

/// A continuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Continuation {
    /// Its ids, the end of sequence included if it came.
    pub(crate) tokens: Vec<u32>,
    /// Whether it ended by itself.
    pub(crate) finished: bool,
}

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
    for queries in queries.chunks(PROMPTS) {
        let prompts = policy.prompts(queries)?;
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let prompts = policy.encode_prompts(&prompts)?;
        let longest = prompts.lengths().max().unwrap_or(1);
        let most = policy.most_target_tokens(longest);
        for continuation in continue_prompts(policy.model(), &prompts, most, &mut |_, row| likeliest(row))? {
            rewrites.push(policy.decode(&continuation.tokens)?);
        }
    }
    Ok(rewrites)
}

/// Samples one continuation of every prompt; sample `i` of a step has a random stream of its own.
pub(crate) fn sample(policy: &Policy, prompts: &TokenBatch, sampling: Sampling) -> Result<Vec<Continuation>> {
    let mut generators: Vec<_> = (0..prompts.len())
        .map(|index| stream(sampling.seed, "rollout", (sampling.step << 20) + index as u64))
        .collect();
    let mut choose = |prompt: usize, row: &[f32]| match generators.get_mut(prompt) {
        Some(generator) => drawn(row, sampling, generator),
        None => likeliest(row),
    };
    continue_prompts(policy.model(), prompts, sampling.most_tokens, &mut choose)
}

fn continue_prompts(
    model: &dyn LanguageModel,
    prompts: &TokenBatch,
    most_tokens: usize,
    choose: &mut dyn FnMut(usize, &[f32]) -> u32,
) -> Result<Vec<Continuation>> {
    let mut found = vec![Continuation { tokens: Vec::new(), finished: false }; prompts.len()];
    let mut decoder = model.decoder(prompts)?;
    let mut live: Vec<usize> = (0..prompts.len()).collect();
    let mut next = live.iter().map(|&row| Ok(decoder.first_token(row)?)).collect::<Result<Vec<u32>>>()?;
    while !live.is_empty() {
        let fed: Vec<&[u32]> = next.iter().map(std::slice::from_ref).collect();
        let logits: Tensor = decoder.step(&fed)?;
        let rows = logits.to_vec2::<f32>()?;
        let mut going = Vec::new();
        next.clear();
        for (row, (&prompt, logits)) in live.iter().zip(&rows).enumerate() {
            let token = choose(prompt, logits);
            let Some(continuation) = found.get_mut(prompt) else { continue };
            continuation.tokens.push(token);
            continuation.finished = model.end_of_sequence().contains(&token);
            if !continuation.finished && continuation.tokens.len() < most_tokens {
                going.push(row);
                next.push(token);
            }
        }
        if going.len() < live.len() {
            decoder.reorder(&going)?;
            live = going.into_iter().filter_map(|row| live.get(row).copied()).collect();
        }
    }
    Ok(found)
}

/// The position of the largest logit; the first of equal ones.
fn likeliest(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (id, logit);
        }
    }
    best.0 as u32
}

/// Draws from the likeliest ids whose probability together reaches `top_p`.
fn drawn(logits: &[f32], sampling: Sampling, rng: &mut impl Rng) -> u32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| (f64::from(logit - largest) / sampling.temperature).exp();
    let mut weights: Vec<(u32, f64)> =
        logits.iter().enumerate().map(|(id, &logit)| (id as u32, weight(logit))).collect();
    let mut total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    if sampling.top_p < 1.0 {
        weights.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        let mut covered = 0.0;
        let kept = weights.iter().take_while(|(_, weight)| {
            let before = covered;
            covered += weight / total;
            before < sampling.top_p
        });
        let kept = kept.count().max(1);
        weights.truncate(kept);
        total = weights.iter().map(|(_, weight)| weight).sum();
    }
    let mut left = rng.random::<f64>() * total;
    for &(id, weight) in &weights {
        left -= weight;
        if left < 0.0 {
            return id;
        }
    }
    weights.last().map_or(0, |(id, _)| *id)
}
