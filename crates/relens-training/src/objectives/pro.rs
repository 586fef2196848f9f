//! Preference ranking optimization: a list of candidates, the better one to be likelier than all that are worse.

use std::collections::HashSet;

use candle_core::{Device, Tensor};
use relens_models::ops::target_log_probs;

use super::language_modelling::{check_length, gather};
use crate::{Result, TrainingError};

/// What padding adds to a score: its probability is exactly 0 in f32.
const NEVER: f32 = -1e30;

/// L_PRO (Song et al. 2023, arXiv 2306.17492; EvdCLIP equation 6, MGQRe equation 4).
///
/// Candidates of a query are sorted by reward, best first; p_i is the length-normalised log-probability of candidate
/// i; T_j^i = r_j − r_i, and T_j^j = max_{i>j} T_j^i:
///
/// ```text
/// L_j   = logsumexp(p_j·T_j^j, { p_i·T_j^i : i > j }) − p_j·T_j^j        j = 1 … k−1
/// L_PRO = mean over the queries of Σ_j L_j
/// ```
///
/// # Shapes
/// - mean_log_probs: `[candidates of all queries]`, a query's candidates one after the other
/// - rewards: for each query its candidates' rewards, standardised (see [`RewardStandardization`])
/// - output: `[]`
///
/// # Errors
/// Rewards that are not sorted, not finite or fewer than two; a number of log-probabilities that is not theirs.
pub fn preference_ranking(mean_log_probs: &Tensor, rewards: &[Vec<f32>]) -> Result<Tensor> {
    const NAME: &str = "preference_ranking";
    check_length(NAME, "log-probabilities", rewards.iter().map(Vec::len).sum(), mean_log_probs.dim(0)?)?;
    rewards.iter().try_for_each(|rewards| check_rewards(rewards))?;
    let width = rewards.iter().map(Vec::len).max().unwrap_or(0);
    let (mut positions, mut gaps, mut masks) = (Vec::new(), Vec::new(), Vec::new());
    let mut first = 0u32;
    for rewards in rewards {
        for (rank, &reward) in rewards.iter().enumerate().take(rewards.len() - 1) {
            let worse = &rewards[rank + 1..];
            let largest = worse.iter().map(|other| reward - other).fold(0.0, f32::max);
            positions.push(first + rank as u32);
            gaps.push(largest);
            masks.push(0.0);
            for (place, other) in worse.iter().enumerate() {
                positions.push(first + (rank + 1 + place) as u32);
                gaps.push(reward - other);
                masks.push(0.0);
            }
            let padding = width - 1 - worse.len();
            positions.extend(std::iter::repeat_n(first, padding));
            gaps.extend(std::iter::repeat_n(0.0, padding));
            masks.extend(std::iter::repeat_n(NEVER, padding));
        }
        first += rewards.len() as u32;
    }
    let rows = positions.len() / width.max(1);
    let shaped = |values: Vec<f32>| Tensor::from_vec(values, rows * width, &Device::Cpu);
    let scores = ((gather(mean_log_probs, &positions)? * shaped(gaps)?)? + shaped(masks)?)?;
    // The candidate that should win stands first in every row.
    let log_likelihood = target_log_probs(&scores.reshape((rows, width))?, &vec![0; rows])?;
    Ok((log_likelihood.sum_all()? * (-1.0 / rewards.len() as f64))?)
}

fn check_rewards(rewards: &[f32]) -> Result<()> {
    let sorted = rewards.windows(2).all(|pair| pair[0] >= pair[1]);
    if sorted && rewards.len() >= 2 && rewards.iter().all(|reward| reward.is_finite()) {
        return Ok(());
    }
    Err(TrainingError::argument(
        "preference_ranking",
        "at least two finite rewards a query, best first",
        format!("{rewards:?}"),
    ))
}

/// Brings the rewards of a data set to mean 0 and deviation 1, times a scale.
///
/// A retriever's cosines differ by 0.01 to 0.05: without this T ≈ 0, and the loss lies flat at Σ log(k − j + 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RewardStandardization {
    mean: f64,
    factor: f64,
}

impl RewardStandardization {
    /// Measured over all rewards of a data set; equal rewards are only shifted.
    pub fn measure(rewards: impl Iterator<Item = f32> + Clone, reward_scale: f64) -> Self {
        let count = rewards.clone().count().max(1) as f64;
        let mean = rewards.clone().map(f64::from).sum::<f64>() / count;
        let variance = rewards.map(|reward| (f64::from(reward) - mean).powi(2)).sum::<f64>() / count;
        let deviation = variance.sqrt();
        let factor = if deviation > 1e-12 { reward_scale / deviation } else { reward_scale };
        Self { mean, factor }
    }

    /// The standardised reward.
    pub fn apply(&self, reward: f32) -> f32 {
        ((f64::from(reward) - self.mean) * self.factor) as f32
    }
}

/// A candidate rewrite and what the retriever thinks of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedCandidate {
    /// The text.
    pub text: String,
    /// Its reward.
    pub reward: f32,
}

/// Merges candidates that read the same (letter case and spacing aside), sorts them by reward, best first, and keeps
/// `length` of them, spread evenly from best to worst. Of equal texts the best reward stays.
pub fn rank_candidates(mut candidates: Vec<RankedCandidate>, length: usize) -> Vec<RankedCandidate> {
    candidates
        .sort_by(|left, right| right.reward.total_cmp(&left.reward).then_with(|| left.text.cmp(&right.text)));
    let mut seen = HashSet::new();
    candidates.retain(|candidate| {
        let words: Vec<&str> = candidate.text.split_whitespace().collect();
        candidate.reward.is_finite() && seen.insert(words.join(" ").to_lowercase())
    });
    if candidates.len() <= length || length < 2 {
        candidates.truncate(length);
        return candidates;
    }
    let last = candidates.len() - 1;
    let chosen: HashSet<usize> =
        (0..length).map(|place| (place * last + (length - 1) / 2) / (length - 1)).collect();
    let mut index = 0;
    candidates.retain(|_| {
        index += 1;
        chosen.contains(&(index - 1))
    });
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(text: &str, reward: f32) -> RankedCandidate {
        RankedCandidate { text: text.to_owned(), reward }
    }

    #[test]
    fn unsorted_or_lonely_rewards_are_refused() {
        let log_probs = Tensor::new(&[-1.0f32, -2.0], &Device::Cpu).unwrap();
        let error = preference_ranking(&log_probs, &[vec![0.0, 1.0]]).unwrap_err().to_string();
        assert!(error.contains("best first") && error.contains("[0.0, 1.0]"), "{error}");
        assert!(preference_ranking(&log_probs, &[vec![0.0], vec![1.0]]).is_err());
        assert!(preference_ranking(&log_probs, &[vec![1.0, f32::NAN]]).is_err());
        assert!(preference_ranking(&log_probs, &[vec![1.0, 0.5, 0.0]]).is_err());
    }

    #[test]
    fn equal_rewards_leave_the_loss_flat() {
        let log_probs = Tensor::new(&[-1.0f32, -2.0, -0.5], &Device::Cpu).unwrap();
        let loss = preference_ranking(&log_probs, &[vec![0.2; 3]]).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - (3f32.ln() + 2f32.ln())).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn huge_gaps_stay_finite() {
        let log_probs = Tensor::new(&[-500.0f32, -1.0], &Device::Cpu).unwrap();
        let loss = preference_ranking(&log_probs, &[vec![1e4, -1e4]]).unwrap().to_scalar::<f32>().unwrap();
        assert!(loss.is_finite() && loss > 0.0, "{loss}");
    }

    #[test]
    fn standardised_rewards_have_mean_0_and_the_asked_deviation() {
        let rewards = [0.31f32, 0.29, 0.33, 0.27];
        let standardization = RewardStandardization::measure(rewards.iter().copied(), 2.0);
        let scaled: Vec<f32> = rewards.iter().map(|&reward| standardization.apply(reward)).collect();
        let mean = scaled.iter().sum::<f32>() / 4.0;
        let variance = scaled.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / 4.0;
        assert!(mean.abs() < 1e-4 && (variance.sqrt() - 2.0).abs() < 1e-3, "{scaled:?}");
        let equal = RewardStandardization::measure([0.5f32; 3].into_iter(), 1.0);
        assert_eq!(equal.apply(0.5), 0.0);
    }

    #[test]
    fn duplicates_are_merged_and_long_lists_thinned_from_best_to_worst() {
        let candidates =
            vec![candidate("b", 0.2), candidate("A  dog", 0.5), candidate("a dog", 0.9), candidate("c", 0.1)];
        let ranked = rank_candidates(candidates, 5);
        assert_eq!(ranked, [candidate("a dog", 0.9), candidate("b", 0.2), candidate("c", 0.1)]);
        let many = (0..9).map(|index| candidate(&index.to_string(), index as f32)).collect();
        let kept: Vec<f32> = rank_candidates(many, 5).iter().map(|candidate| candidate.reward).collect();
        assert_eq!(kept, [8.0, 6.0, 4.0, 2.0, 0.0]);
    }
}
