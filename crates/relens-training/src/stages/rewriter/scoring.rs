//! Candidates that the retriever has not seen yet are shown to it.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use relens_models::atomic_file::write_atomically;
use relens_models::weights::{ElementType, Weights, tensors_to_bytes};
use sha2::{Digest, Sha256};

use super::environment::Environment;
use crate::data::CandidateQuery;
use crate::data::candidates;
use crate::data::candidates::CandidateConfig;
use crate::reward::{Judge, RewardConfig, Rollout};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Queries that are scored at once.
const QUERIES: usize = 32;

/// Changes where the same settings come to mean other rewards.
const VERSION: u32 = 2;

/// The tensor's name in a cache file.
const TENSOR: &str = "rewards";

/// Reads all candidates and gives those without a reward theirs, from the cache where an earlier run has kept it.
pub(crate) fn scored_candidates(
    config: &CandidateConfig,
    reward: &RewardConfig,
    environment: &mut Environment,
    progress: &mut dyn Progress,
) -> Result<Vec<CandidateQuery>> {
    score(candidates::read(config, &environment.corpus)?, reward, environment, progress)
}

/// Gives those candidates of `queries` that have no reward theirs, from the cache where an earlier run has kept it.
pub(crate) fn score(
    mut queries: Vec<CandidateQuery>,
    reward: &RewardConfig,
    environment: &mut Environment,
    progress: &mut dyn Progress,
) -> Result<Vec<CandidateQuery>> {
    let unscored =
        |query: &CandidateQuery| query.candidates.iter().any(|candidate| candidate.reward.is_none());
    if !queries.iter().any(unscored) {
        return Ok(queries);
    }
    let name = format!("rewards-{}.safetensors", key(&queries, reward, environment)?);
    let file = environment.cache().join(name);
    let rewards = match read(&file, &queries) {
        Some(rewards) => rewards,
        None => {
            let judge = environment.judge(reward, progress)?;
            let rewards = judged(&queries, &judge, progress)?;
            write(&file, &rewards)?;
            rewards
        }
    };
    let unscored = queries.iter_mut().flat_map(|query| &mut query.candidates);
    for (candidate, reward) in unscored.filter(|candidate| candidate.reward.is_none()).zip(rewards) {
        candidate.reward = Some(reward);
    }
    Ok(queries)
}

/// The rewards of all candidates that have none, in order.
fn judged(queries: &[CandidateQuery], judge: &Judge, progress: &mut dyn Progress) -> Result<Vec<f32>> {
    progress.begin("candidates shown to the retriever", queries.len() as u64);
    let mut rewards = Vec::new();
    for (chunk, queries) in queries.chunks(QUERIES).enumerate() {
        let rollouts: Vec<Rollout<'_>> = queries.iter().flat_map(unscored_rollouts).collect();
        for (rollout, judged) in rollouts.iter().zip(judge.judge(&rollouts)?) {
            if !judged.reward.is_finite() {
                return Err(TrainingError::NonFiniteReward {
                    step: 0,
                    sample: rewards.len(),
                    query: rollout.query.to_owned(),
                    rewrite: rollout.rewrite.to_owned(),
                    found: judged.reward,
                });
            }
            rewards.push(judged.reward);
        }
        progress.advance((chunk * QUERIES + queries.len()) as u64);
        if progress.cancelled() {
            return Err(TrainingError::Interrupted { step: 0 });
        }
    }
    progress.end();
    Ok(rewards)
}

fn unscored_rollouts(query: &CandidateQuery) -> impl Iterator<Item = Rollout<'_>> {
    let unscored = query.candidates.iter().filter(|candidate| candidate.reward.is_none());
    unscored.map(|candidate| Rollout {
        query: &query.query,
        picture: query.picture,
        rewrite: &candidate.text,
    })
}

/// A hash of everything that decides the rewards.
fn key(queries: &[CandidateQuery], reward: &RewardConfig, environment: &mut Environment) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(VERSION.to_le_bytes());
    hash.update(environment.judging_retriever()?.fingerprint().as_bytes());
    hash.update(serde_json::to_vec(reward).map_err(std::io::Error::from)?);
    hash.update(environment.seed().to_le_bytes());
    for picture in &environment.corpus.training {
        hash.update(picture.path.as_os_str().as_encoded_bytes());
        hash.update([0]);
    }
    for rollout in queries.iter().flat_map(unscored_rollouts) {
        hash.update(rollout.picture.to_le_bytes());
        for text in [rollout.query, rollout.rewrite] {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
    }
    Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// Rewards of an earlier run, if there are any.
fn read(file: &Path, queries: &[CandidateQuery]) -> Option<Vec<f32>> {
    let count = queries.iter().flat_map(unscored_rollouts).count();
    let weights = file.is_file().then(|| Weights::open(file).ok())??;
    let rewards = weights.tensor(TENSOR, &[count]).ok()?;
    rewards.to_vec1().ok()
}

fn write(file: &Path, rewards: &[f32]) -> Result<()> {
    if let Some(directory) = file.parent() {
        fs_err::create_dir_all(directory)?;
    }
    let tensor = Tensor::from_slice(rewards, rewards.len(), &Device::Cpu)?;
    let tensors = BTreeMap::from([(TENSOR.to_owned(), tensor)]);
    Ok(write_atomically(file, &tensors_to_bytes(&tensors, ElementType::F32)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::CandidateRewrite;
    use crate::reward::judge_that_breaks;
    use relens::progress::Silent;

    #[test]
    fn a_candidate_whose_reward_is_not_finite_is_named() {
        let candidates =
            ["a dog", "a broken dog"].map(|text| CandidateRewrite::unscored(text.to_owned(), "test")).into();
        let query = CandidateQuery { query: "a cat".to_owned(), picture: 1, candidates };
        let error = judged(&[query], &judge_that_breaks(), &mut Silent).unwrap_err();
        let named = matches!(
            &error,
            TrainingError::NonFiniteReward { sample: 1, query, rewrite, .. }
                if query == "a cat" && rewrite == "a broken dog"
        );
        assert!(named, "{error}");
    }
}
