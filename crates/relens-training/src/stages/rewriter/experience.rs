//! Rollouts with their rewards: what reinforcement learning learns from.

use candle_core::Tensor;
use relens_models::language_model::{LanguageModel, PromptTargetBatch};
use serde_json::{Map, Value, json};

use super::examples::Example;
use super::policy::Policy;
use super::rollouts::{Sampling, sample};
use crate::reward::{Judge, Rollout, RolloutReward, Signals};
use crate::{Result, TrainingError};

/// Rollouts whose log-probabilities are computed at once.
const BATCH: usize = 64;
/// Skipped samples that a step names; the rest is counted in the metrics.
const NAMED_SAMPLES: usize = 3;

/// A query and its picture's position in the training split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RolloutQuery {
    pub(crate) text: String,
    pub(crate) picture: usize,
}

/// One rollout.
#[derive(Debug, Clone)]
pub(crate) struct Experience {
    /// The query's place in the step's batch.
    pub(crate) query: usize,
    pub(crate) example: Example,
    pub(crate) text: String,
    /// Whether it ended by itself.
    pub(crate) finished: bool,
    pub(crate) reward: RolloutReward,
    /// The reward less what a missing end costs.
    pub(crate) score: f32,
}

/// A step's rollouts, those that could be used.
#[derive(Debug, Default)]
pub(crate) struct Experiences {
    pub(crate) rollouts: Vec<Experience>,
    pub(crate) skipped: usize,
    pub(crate) messages: Vec<String>,
}

/// How rollouts are collected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Collection {
    pub(crate) sampling: Sampling,
    /// Rollouts of each query.
    pub(crate) per_query: usize,
    /// What a rollout costs that did not end by itself.
    pub(crate) missing_end_penalty: f64,
}

/// Samples rewrites of queries and has them judged. An empty rewrite and a prompt that does not fit are skipped and named.
///
/// # Errors
/// A reward that is not finite, with step and sample; a step without a single usable rollout.
pub(crate) fn collect(
    policy: &Policy,
    judge: &Judge,
    queries: &[RolloutQuery],
    collection: Collection,
) -> Result<Experiences> {
    let step = collection.sampling.step;
    let texts: Vec<&str> = queries.iter().map(|query| query.text.as_str()).collect();
    let prompts = policy.prompts(&texts)?;
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let prompts = policy.encode_prompts(&prompts)?;
    let continuations = sample(policy, &prompts, collection.per_query, collection.sampling)?;
    let mut found = Experiences::default();
    for (place, continuation) in continuations.into_iter().enumerate() {
        let query = place / collection.per_query.max(1);
        let text = policy.decode(continuation.content())?;
        let cut = prompts.truncated.get(query).copied().unwrap_or(true);
        if cut || text.is_empty() {
            let what = if cut { "a prompt longer than the context for" } else { "an empty rewrite of" };
            let query = texts.get(query).copied().unwrap_or_default();
            found.skip(|| format!("step {step}, sample {place}: {what} `{query}`, skipped"));
            continue;
        }
        let prompt = prompts.sequence(query).unwrap_or_default().to_vec();
        let example = Example { prompt, target: continuation.tokens };
        let reward =
            RolloutReward { reward: 0.0, signals: Signals::default(), length_cost: 0.0, fidelity_cost: 0.0 };
        let finished = continuation.finished;
        found.rollouts.push(Experience { query, example, text, finished, reward, score: 0.0 });
    }
    if found.rollouts.is_empty() {
        return Err(TrainingError::argument(
            "rollouts",
            format!("at least one rewrite with words in it at step {step}"),
            format!("{} that are empty or too long: {}", found.skipped, found.messages.join("; ")),
        ));
    }
    reward(&mut found.rollouts, judge, queries, collection)?;
    Ok(found)
}

fn reward(
    rollouts: &mut [Experience],
    judge: &Judge,
    queries: &[RolloutQuery],
    collection: Collection,
) -> Result<()> {
    let judged: Vec<Rollout<'_>> = rollouts
        .iter()
        .filter_map(|rollout| {
            let query = queries.get(rollout.query)?;
            Some(Rollout { query: &query.text, picture: query.picture, rewrite: &rollout.text })
        })
        .collect();
    let rewards = judge.judge(&judged)?;
    for (sample, (rollout, reward)) in rollouts.iter_mut().zip(rewards).enumerate() {
        if !reward.reward.is_finite() || reward.signals.values().iter().any(|value| !value.is_finite()) {
            return Err(TrainingError::NonFiniteReward {
                step: collection.sampling.step,
                sample,
                query: queries.get(rollout.query).map_or(String::new(), |query| query.text.clone()),
                rewrite: rollout.text.clone(),
                found: reward.reward,
            });
        }
        let missing = if rollout.finished { 0.0 } else { collection.missing_end_penalty as f32 };
        rollout.reward = reward;
        rollout.score = reward.reward - missing;
    }
    Ok(())
}

impl Experiences {
    /// Counts a sample that cannot be used; the first ones are named.
    fn skip(&mut self, message: impl FnOnce() -> String) {
        self.skipped += 1;
        if self.skipped <= NAMED_SAMPLES {
            self.messages.push(message());
        }
    }

    /// All rollouts as one batch, and where each one's tokens begin.
    pub(crate) fn offsets(&self) -> Vec<usize> {
        let mut offsets = vec![0];
        for rollout in &self.rollouts {
            offsets.push(offsets.last().copied().unwrap_or(0) + rollout.example.target.len());
        }
        offsets
    }

    /// What `measure` makes of every rollout's batch, one number a token, without a gradient.
    ///
    /// # Errors
    /// A number that is not finite, with step and sample.
    pub(crate) fn per_token(
        &self,
        quantity: &'static str,
        step: u64,
        measure: impl Fn(&PromptTargetBatch) -> Result<Tensor>,
    ) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        for rollouts in self.rollouts.chunks(BATCH) {
            let batch = Example::batch(rollouts.iter().map(|rollout| &rollout.example));
            values.extend(measure(&batch)?.detach().to_vec1::<f32>()?);
        }
        let mut offset = 0;
        for (sample, rollout) in self.rollouts.iter().enumerate() {
            let own = values.get(offset..offset + rollout.example.target.len()).unwrap_or_default();
            offset += own.len();
            if let Some(&found) = own.iter().find(|value| !value.is_finite()) {
                return Err(TrainingError::NonFiniteRollout {
                    step,
                    sample,
                    query: format!("number {} of the batch", rollout.query),
                    rewrite: rollout.text.clone(),
                    quantity,
                    found,
                });
            }
        }
        Ok(values)
    }

    /// log π of every token under a model, without dropout.
    pub(crate) fn log_probs(&self, model: &dyn LanguageModel, step: u64) -> Result<Vec<f32>> {
        self.per_token("log-probability", step, |batch| Ok(model.target_log_probs(batch, None)?))
    }

    /// The reward, its quantiles and all signals, for the log.
    pub(crate) fn reward_metrics(&self) -> Map<String, Value> {
        let mut metrics = Map::new();
        let scores = sorted(self.rollouts.iter().map(|rollout| rollout.score));
        metrics.insert("reward".to_owned(), json!(mean(&scores)));
        metrics.insert("reward_std".to_owned(), json!(self.reward_deviation()));
        for (name, share) in [("p10", 0.1), ("p50", 0.5), ("p90", 0.9)] {
            metrics.insert(format!("reward_{name}"), json!(quantile(&scores, share)));
        }
        for (place, name) in Signals::NAMES.iter().enumerate() {
            let of =
                |rollout: &Experience| rollout.reward.signals.values().get(place).copied().unwrap_or(0.0);
            let values: Vec<f32> = self.rollouts.iter().map(of).collect();
            metrics.insert(format!("rewards/{name}/mean"), json!(mean(&values)));
            metrics.insert(format!("rewards/{name}/std"), json!(deviation(&values)));
        }
        let costs = |cost: fn(&RolloutReward) -> f32| -> Vec<f32> {
            self.rollouts.iter().map(|rollout| cost(&rollout.reward)).collect()
        };
        metrics.insert("costs/length".to_owned(), json!(mean(&costs(|reward| reward.length_cost))));
        metrics.insert("costs/fidelity".to_owned(), json!(mean(&costs(|reward| reward.fidelity_cost))));
        metrics.insert("skipped_rollouts".to_owned(), json!(self.skipped));
        metrics
    }

    /// The mean deviation of the rewards of one query's rewrites, as TRL's `reward_std`; with one rewrite a query, that of
    /// all rewards.
    fn reward_deviation(&self) -> f64 {
        let of = |rollouts: &[Experience]| {
            deviation(&rollouts.iter().map(|rollout| rollout.score).collect::<Vec<_>>())
        };
        let groups = self.rollouts.chunk_by(|left, right| left.query == right.query);
        let within: Vec<f64> = groups.filter(|group| group.len() > 1).map(of).collect();
        if within.is_empty() { of(&self.rollouts) } else { within.iter().sum::<f64>() / within.len() as f64 }
    }

    /// Lengths and ends, under the names of TRL's `GRPOTrainer`.
    pub(crate) fn completion_metrics(&self) -> Map<String, Value> {
        let lengths = sorted(self.rollouts.iter().map(|rollout| rollout.example.target.len() as f32));
        let finished = self.rollouts.iter().filter(|rollout| rollout.finished).count();
        let share = finished as f64 / self.rollouts.len().max(1) as f64;
        Map::from_iter([
            ("completions/mean_length".to_owned(), json!(mean(&lengths))),
            ("completions/min_length".to_owned(), json!(quantile(&lengths, 0.0))),
            ("completions/max_length".to_owned(), json!(quantile(&lengths, 1.0))),
            ("completions/clipped_ratio".to_owned(), json!(1.0 - share)),
        ])
    }

    /// Some rollouts for samples.jsonl.
    pub(crate) fn samples(&self, queries: &[RolloutQuery], count: usize) -> Vec<Map<String, Value>> {
        let shown = self.rollouts.iter().take(count);
        shown
            .map(|rollout| {
                let query = queries.get(rollout.query).map(|query| query.text.as_str());
                let mut sample = Map::from_iter([
                    ("query".to_owned(), json!(query)),
                    ("rewrite".to_owned(), json!(rollout.text)),
                    ("reward".to_owned(), json!(rollout.score)),
                ]);
                for (name, value) in Signals::NAMES.iter().zip(rollout.reward.signals.values()) {
                    sample.insert((*name).to_owned(), json!(value));
                }
                sample
            })
            .collect()
    }
}

/// Mean of numbers; 0 of none.
pub(crate) fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len().max(1) as f64
}

fn deviation(values: &[f32]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum();
    (squares / values.len().max(1) as f64).sqrt()
}

fn sorted(values: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut values: Vec<f32> = values.collect();
    values.sort_by(f32::total_cmp);
    values
}

fn quantile(sorted: &[f32], share: f64) -> f32 {
    let place = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::judge_that_breaks;

    fn rollout(text: &str) -> Experience {
        let nothing =
            RolloutReward { reward: 0.0, signals: Signals::default(), length_cost: 0.0, fidelity_cost: 0.0 };
        let example = Example { prompt: vec![1], target: vec![2] };
        Experience { query: 0, example, text: text.to_owned(), finished: true, reward: nothing, score: 0.0 }
    }

    #[test]
    fn a_reward_that_is_not_finite_is_refused_with_step_and_sample() {
        let sampling = Sampling { temperature: 1.0, top_p: 1.0, most_tokens: 1, seed: 0, step: 7 };
        let collection = Collection { sampling, per_query: 2, missing_end_penalty: 0.0 };
        let queries = [RolloutQuery { text: "a cat".to_owned(), picture: 0 }];
        let mut rollouts = [rollout("a dog"), rollout("a broken dog")];
        match reward(&mut rollouts, &judge_that_breaks(), &queries, collection).unwrap_err() {
            TrainingError::NonFiniteReward { step, sample, query, rewrite, found } => {
                assert_eq!((step, sample, query.as_str(), rewrite.as_str()), (7, 1, "a cat", "a broken dog"));
                assert!(found.is_nan());
            }
            other => panic!("{other}"),
        }
        assert!(reward(&mut rollouts[..1], &judge_that_breaks(), &queries, collection).is_ok());
    }

    #[test]
    fn the_deviation_of_rewards_is_that_within_a_querys_rewrites() {
        let scored = |query, score| Experience { query, score, ..rollout("a dog") };
        let of = |rollouts| Experiences { rollouts, skipped: 0, messages: Vec::new() }.reward_deviation();
        // Queries of different difficulty tell nothing of how rewrites of one differ.
        assert_eq!(of(vec![scored(0, 1.0), scored(0, 3.0), scored(1, 11.0), scored(1, 13.0)]), 1.0);
        assert_eq!(of(vec![scored(0, 1.0), scored(1, 3.0)]), 1.0);
    }
}
