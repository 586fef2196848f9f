//! The choice of one token from the scores of all.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::SamplingConfig;
use crate::ops::log_sum_exp;
use crate::{ModelError, Result};

/// A token, and its log-probability under the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TokenChoice {
    pub(super) token: u32,
    pub(super) log_prob: f32,
}

/// The logarithm of what the scores must be divided by; refuses scores of which no probability can be made.
pub(super) fn log_normalizer(scores: &[f32], prompt: usize, written: usize) -> Result<f32> {
    let normalizer = log_sum_exp(scores);
    if normalizer.is_finite() {
        return Ok(normalizer);
    }
    let broken = scores.iter().enumerate().find(|(_, score)| score.is_nan() || **score == f32::INFINITY);
    Err(ModelError::Sample {
        sample: prompt,
        expected: "a finite score for every token".into(),
        found: match broken {
            Some((token, score)) => format!("{score} for token {token}, after {written} tokens"),
            None => format!("no token that is possible, after {written} tokens"),
        },
    })
}

/// The token of the highest score, of several the one with the lowest id.
pub(super) fn most_likely(scores: &[f32], prompt: usize, written: usize) -> Result<TokenChoice> {
    let normalizer = log_normalizer(scores, prompt, written)?;
    let (token, score) = highest(scores);
    Ok(TokenChoice { token, log_prob: score - normalizer })
}

/// The first of the highest scores.
fn highest(scores: &[f32]) -> (u32, f32) {
    let mut best = (0u32, f32::NEG_INFINITY);
    for (token, &score) in (0u32..).zip(scores) {
        // Strictly greater: of equal scores the first wins, as in the reference's argmax.
        if score > best.1 {
            best = (token, score);
        }
    }
    best
}

/// A token drawn from the probabilities that temperature, top-k and top-p leave.
pub(super) fn draw(
    scores: &[f32],
    sampling: &SamplingConfig,
    generator: &mut ChaCha8Rng,
    (prompt, written): (usize, usize),
) -> Result<TokenChoice> {
    let normalizer = log_normalizer(scores, prompt, written)?;
    // 53 random bits, as many as a double holds: at least 0, below 1.
    let uniform = (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let candidates = kept(scores, sampling);
    let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let mut rest = uniform * total;
    let drawn = candidates.iter().find(|candidate| {
        rest -= candidate.weight;
        rest < 0.0
    });
    // Rounding may leave a rest after the last candidate.
    let token = drawn.or(candidates.last()).map_or(0, |candidate| candidate.token);
    // The log-probability is that of the model itself, before temperature and cuts.
    let score = scores.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
    Ok(TokenChoice { token, log_prob: score - normalizer })
}

struct WeightedToken {
    token: u32,
    weight: f64,
}

/// The tokens that may be drawn, with weights proportional to their probabilities.
fn kept(scores: &[f32], sampling: &SamplingConfig) -> Vec<WeightedToken> {
    let (_, highest) = highest(scores);
    // In double precision: a sum over a whole vocabulary of single numbers would drop its tail.
    let weight = |score: f32| f64::from((score - highest) / sampling.temperature).exp();
    let all = (0u32..).zip(scores).map(|(token, &score)| WeightedToken { token, weight: weight(score) });
    let mut candidates: Vec<WeightedToken> = all.filter(|candidate| candidate.weight > 0.0).collect();
    let heavier =
        |a: &WeightedToken, b: &WeightedToken| b.weight.total_cmp(&a.weight).then(a.token.cmp(&b.token));
    if sampling.top_k > 0 && sampling.top_k < candidates.len() {
        candidates.select_nth_unstable_by(sampling.top_k, heavier);
        candidates.truncate(sampling.top_k);
    }
    if sampling.top_p < 1.0 {
        candidates.sort_unstable_by(heavier);
        let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let mut left = total * f64::from(sampling.top_p);
        let enough = candidates.iter().position(|candidate| {
            left -= candidate.weight;
            left <= 0.0
        });
        candidates.truncate(enough.map_or(candidates.len(), |last| last + 1));
    } else {
        // By id where the weights need not be ranked: the same random number then draws the same token however the
        // selection left them.
        candidates.sort_unstable_by_key(|candidate| candidate.token);
    }
    candidates
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const SCORES: [f32; 5] = [0.0, 2.0, f32::NEG_INFINITY, 2.0, 1.0];

    fn tokens(sampling: &SamplingConfig) -> Vec<u32> {
        kept(&SCORES, sampling).iter().map(|candidate| candidate.token).collect()
    }

    #[test]
    fn the_first_of_the_highest_scores_is_chosen() {
        let choice = most_likely(&SCORES, 0, 0).unwrap();
        assert_eq!(choice.token, 1);
        let normalizer = (1.0f32 + 2.0 * 2.0f32.exp() + 1.0f32.exp()).ln();
        assert!((choice.log_prob - (2.0 - normalizer)).abs() < 1e-5);
    }

    #[test]
    fn top_k_and_top_p_keep_what_they_say() {
        let all = SamplingConfig::default();
        assert_eq!(tokens(&all), [0, 1, 3, 4]);
        assert_eq!(tokens(&SamplingConfig { top_k: 3, ..all.clone() }), [1, 3, 4]);
        assert_eq!(tokens(&SamplingConfig { top_k: 1, ..all.clone() }), [1]);
        assert_eq!(tokens(&SamplingConfig { top_k: 99, ..all.clone() }), [0, 1, 3, 4]);
        // The two best have 0.395 each of the mass, the third 0.145.
        assert_eq!(tokens(&SamplingConfig { top_p: 0.39, ..all.clone() }), [1]);
        assert_eq!(tokens(&SamplingConfig { top_p: 0.5, ..all.clone() }), [1, 3]);
        assert_eq!(tokens(&SamplingConfig { top_p: 0.9, ..all.clone() }), [1, 3, 4]);
        assert_eq!(tokens(&SamplingConfig { top_p: 0.99, top_k: 2, ..all }), [1, 3]);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let sampling = SamplingConfig { temperature: 2.0, ..SamplingConfig::default() };
        let mut generator = ChaCha8Rng::seed_from_u64(5);
        let mut counts = [0u32; 5];
        for _ in 0..20_000 {
            let choice = draw(&SCORES, &sampling, &mut generator, (0, 0)).unwrap();
            counts[choice.token as usize] += 1;
        }
        let weights = SCORES.map(|score| f64::from(score / 2.0).exp());
        let total: f64 = weights.iter().sum();
        for (count, weight) in counts.iter().zip(weights) {
            let (found, expected) = (f64::from(*count) / 20_000.0, weight / total);
            assert!((found - expected).abs() < 0.015, "{found} instead of {expected}");
        }
    }

    #[test]
    fn scores_that_are_not_numbers_are_refused() {
        let refused = |scores: &[f32]| most_likely(scores, 7, 3).unwrap_err().to_string();
        assert_eq!(
            refused(&[0.0, f32::NAN]),
            "sample 7: expected a finite score for every token, found NaN for token 1, after 3 tokens"
        );
        assert!(refused(&[f32::INFINITY, 1.0]).contains("found inf for token 0"));
        assert!(refused(&[f32::NEG_INFINITY; 2]).contains("no token that is possible"));
        let mut generator = ChaCha8Rng::seed_from_u64(5);
        assert!(draw(&[f32::NAN], &SamplingConfig::default(), &mut generator, (0, 0)).is_err());
    }
}
