//! The retriever as a judge of rollouts, many at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rand::seq::SliceRandom;
use rayon::prelude::*;
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::embed::memory::RememberingEmbedder;

use super::{RewardConfig, Signals};
use crate::random::stream;
use crate::retriever_feedback::{RetrieverFeedback, SIMILARITY_SCALE, highest, sentence_similarities};
use crate::{Result, TrainingError};

/// A rewrite to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Rollout<'a> {
    /// The query.
    pub query: &'a str,
    /// Its picture's position among the judge's pictures.
    pub picture: usize,
    /// The rewrite.
    pub rewrite: &'a str,
}

/// What a rewrite is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RolloutReward {
    /// The weighted signals less the penalties: what trains.
    pub reward: f32,
    /// All signals, whatever their weight.
    pub signals: Signals,
    /// What its length costs.
    pub length_cost: f32,
    /// What its distance from the query costs.
    pub fidelity_cost: f32,
}

/// What a text gets from the retriever; computed once for each query.
#[derive(Debug, Clone, Copy)]
struct Standing {
    similarity: f32,
    reciprocal_rank: f32,
    /// Mean similarity to its hard negatives.
    hard_similarity: f32,
}

/// Vectors of texts that are remembered at most.
const REMEMBERED: usize = 1 << 16;

/// Compares rewrites with their queries on pictures whose embeddings are known.
pub struct Judge {
    config: RewardConfig,
    /// Candidates and samples repeat: captions of one image are each other's candidates, and a policy that has settled
    /// writes the same text again.
    retriever: RememberingEmbedder,
    sentences: Option<Arc<dyn TextEmbedder>>,
    pictures: Embeddings,
    /// Positions of the images that ranks are counted in, ascending.
    pool: Vec<usize>,
    /// Their embeddings.
    competing: Embeddings,
    anchors: Mutex<HashMap<(String, usize), Standing>>,
}

impl Judge {
    /// A judge over `pictures`, `[pictures, dim]`; the pool is drawn by `seed`.
    ///
    /// # Errors
    /// Settings outside their range; a fidelity penalty without a sentence encoder; fewer than two pictures.
    pub fn new(
        config: RewardConfig,
        retriever: Arc<dyn TextEmbedder>,
        sentences: Option<Arc<dyn TextEmbedder>>,
        pictures: Embeddings,
        seed: u64,
    ) -> Result<Self> {
        config.check()?;
        if config.fidelity.weight > 0.0 && sentences.is_none() {
            return Err(TrainingError::setting(
                "reward.fidelity.weight",
                "0 without a sentence encoder (retriever.sentence_encoder)",
                &config.fidelity.weight,
            ));
        }
        if pictures.rows() < 2 {
            return Err(TrainingError::argument("Judge::new", "two pictures", pictures.rows().to_string()));
        }
        pictures.ensure_finite("pictures")?;
        let mut pool: Vec<usize> = (0..pictures.rows()).collect();
        if config.pool > 0 && config.pool < pool.len() {
            pool.shuffle(&mut stream(seed, "reward pool", 0));
            pool.truncate(config.pool);
            pool.sort_unstable();
        }
        Ok(Self {
            config,
            retriever: RememberingEmbedder::with_limit(retriever, REMEMBERED),
            sentences,
            competing: pictures.select(&pool)?,
            pictures,
            pool,
            anchors: Mutex::default(),
        })
    }

    /// The settings.
    pub fn config(&self) -> &RewardConfig {
        &self.config
    }

    /// Judges rollouts, in order.
    ///
    /// # Errors
    /// A picture that there is not; those of the retriever. Rewards that are not finite are the caller's to refuse,
    /// who knows step and sample.
    pub fn judge(&self, rollouts: &[Rollout<'_>]) -> Result<Vec<RolloutReward>> {
        if rollouts.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(beyond) = rollouts.iter().find(|rollout| rollout.picture >= self.pictures.rows()) {
            let expected = format!("pictures below {}", self.pictures.rows());
            return Err(TrainingError::argument("Judge::judge", expected, beyond.picture.to_string()));
        }
        let anchors = self.anchors(rollouts)?;
        let rewrites: Vec<&str> = rollouts.iter().map(|rollout| rollout.rewrite).collect();
        let pictures: Vec<usize> = rollouts.iter().map(|rollout| rollout.picture).collect();
        let standings = self.standings(&rewrites, &pictures)?;
        let similarities = self.sentence_similarities(rollouts)?;
        let rewards = rollouts.par_iter().enumerate().map(|(index, rollout)| {
            let signals = signals(&anchors[index], &standings[index]);
            let length_cost = self.config.length.cost(rollout.query, rollout.rewrite);
            let fidelity_cost =
                similarities.as_ref().map_or(0.0, |found| self.config.fidelity.cost(found[index]));
            let reward = self.config.combine(&signals) - length_cost - fidelity_cost;
            RolloutReward { reward, signals, length_cost, fidelity_cost }
        });
        Ok(rewards.collect())
    }

    /// The queries' own numbers, from memory where the query was seen before.
    fn anchors(&self, rollouts: &[Rollout<'_>]) -> Result<Vec<Standing>> {
        let mut known = self.anchors.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |rollout: &Rollout<'_>| (rollout.query.to_owned(), rollout.picture);
        let mut fresh: Vec<(String, usize)> =
            rollouts.iter().map(key).filter(|key| !known.contains_key(key)).collect();
        fresh.sort_unstable();
        fresh.dedup();
        if !fresh.is_empty() {
            let texts: Vec<&str> = fresh.iter().map(|(query, _)| query.as_str()).collect();
            let pictures: Vec<usize> = fresh.iter().map(|(_, picture)| *picture).collect();
            let standings = self.standings(&texts, &pictures)?;
            known.extend(fresh.into_iter().zip(standings));
        }
        Ok(rollouts.iter().filter_map(|rollout| known.get(&key(rollout)).copied()).collect())
    }

    /// Where texts stand: their similarity to their images, to the wrong images that they rank highest, and their
    /// ranks, in which ties count against them.
    fn standings(&self, texts: &[&str], pictures: &[usize]) -> Result<Vec<Standing>> {
        let feedback = RetrieverFeedback { retriever: &self.retriever, images: &self.competing };
        let own = self.pictures.select(pictures)?;
        feedback.scored(texts, &own, |text, scores, similarity| {
            let place = pictures.get(text).and_then(|picture| self.pool.binary_search(picture).ok());
            let mut others = scores.to_vec();
            if let Some(place) = place {
                others.swap_remove(place);
            }
            let before = others.iter().filter(|&&score| score >= similarity).count();
            let hard = highest(&others, self.config.hard_negatives);
            Standing {
                similarity,
                reciprocal_rank: 1.0 / (1 + before) as f32,
                hard_similarity: hard.iter().map(|other| other.score).sum::<f32>() / hard.len().max(1) as f32,
            }
        })
    }

    fn sentence_similarities(&self, rollouts: &[Rollout<'_>]) -> Result<Option<Vec<f32>>> {
        let Some(sentences) = self.sentences.as_ref().filter(|_| self.config.fidelity.weight > 0.0) else {
            return Ok(None);
        };
        let pairs: Vec<(&str, &str)> =
            rollouts.iter().map(|rollout| (rollout.query, rollout.rewrite)).collect();
        Ok(Some(sentence_similarities(sentences.as_ref(), &pairs)?))
    }
}

/// What a rewrite changes.
fn signals(query: &Standing, rewrite: &Standing) -> Signals {
    let gain = rewrite.similarity - query.similarity;
    Signals {
        similarity: SIMILARITY_SCALE * gain,
        margin: SIMILARITY_SCALE * (gain - (rewrite.hard_similarity - query.hard_similarity)),
        rank: rewrite.reciprocal_rank - query.reciprocal_rank,
    }
}

/// A judge whose retriever gives vectors of NaN for texts with "broken" in them.
#[cfg(test)]
pub(crate) fn judge_that_breaks() -> Judge {
    struct Breaking;

    impl TextEmbedder for Breaking {
        fn name(&self) -> &str {
            "breaking"
        }

        fn fingerprint(&self) -> &str {
            "breaking"
        }

        fn embed_texts(&self, texts: &[&str]) -> relens::error::Result<Embeddings> {
            let values = texts.iter().flat_map(|text| {
                let value = if text.contains("broken") { f32::NAN } else { 1.0 };
                [value, 0.0]
            });
            Embeddings::from_rows(2, values.collect())
        }
    }

    let pictures = Embeddings::from_rows(2, vec![1.0, 0.0, 0.0, 1.0]).unwrap();
    Judge::new(RewardConfig::default(), Arc::new(Breaking), None, pictures, 0).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Embeds "x y" as the vector (x, y), scaled to length 1.
    struct Plane;

    impl TextEmbedder for Plane {
        fn name(&self) -> &str {
            "plane"
        }

        fn fingerprint(&self) -> &str {
            "plane"
        }

        fn embed_texts(&self, texts: &[&str]) -> relens::error::Result<Embeddings> {
            let numbers =
                texts.iter().flat_map(|text| text.split(' ').take(2).map(|word| word.parse().unwrap()));
            let mut embeddings = Embeddings::from_rows(2, numbers.collect())?;
            embeddings.normalise();
            Ok(embeddings)
        }
    }

    fn judge(config: RewardConfig) -> Judge {
        let mut pictures = Embeddings::from_rows(2, vec![1.0, 0.0, 0.0, 1.0, 0.8, 0.6]).unwrap();
        pictures.normalise();
        Judge::new(config, Arc::new(Plane), Some(Arc::new(Plane)), pictures, 0).unwrap()
    }

    fn rollout<'a>(query: &'a str, rewrite: &'a str) -> Rollout<'a> {
        Rollout { query, picture: 0, rewrite }
    }

    #[test]
    fn the_signals_are_changes_against_the_query() {
        let judge = judge(RewardConfig { hard_negatives: 1, ..RewardConfig::default() });
        // The query lies on picture 2, the rewrite on picture 0, which is the right one.
        let found = judge.judge(&[rollout("0.8 0.6", "1 0"), rollout("0.8 0.6", "0.8 0.6")]).unwrap();
        let Signals { similarity, margin, rank } = found[0].signals;
        assert!((similarity - 20.0 * 0.2).abs() < 1e-5, "{similarity}");
        assert!((margin - 20.0 * (0.2 + 0.2)).abs() < 1e-5, "the hard negative lost 0.2: {margin}");
        assert!((rank - 0.5).abs() < 1e-6, "from rank 2 to rank 1: {rank}");
        assert_eq!(found[0].reward, similarity);
        assert_eq!((found[1].signals, found[1].reward), (Signals::default(), 0.0));
    }

    #[test]
    fn weights_and_penalties_make_the_reward_and_one_alone_equals_many() {
        let mut config = RewardConfig { similarity: 0.0, margin: 1.0, rank: 2.0, ..RewardConfig::default() };
        config.length = super::super::LengthPenalty { weight: 0.25, ratio: 1.0, words: 0 };
        config.fidelity = super::super::FidelityPenalty { weight: 1.0, floor: 1.0 };
        let judge = judge(config);
        let rollouts = [rollout("0.8 0.6", "1 0"), rollout("0.8 0.6", "0 1 2"), rollout("0 1", "1 1")];
        let together = judge.judge(&rollouts).unwrap();
        for (rollout, reward) in rollouts.iter().zip(&together) {
            assert_eq!(judge.judge(&[*rollout]).unwrap()[0], *reward);
            let expected = reward.signals.margin + 2.0 * reward.signals.rank;
            assert!((reward.reward - (expected - reward.length_cost - reward.fidelity_cost)).abs() < 1e-5);
        }
        assert!((together[1].length_cost - 0.25).abs() < 1e-6);
        assert!((together[0].fidelity_cost - 0.2).abs() < 1e-5);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let pictures = || Embeddings::from_rows(1, vec![1.0, 1.0]).unwrap();
        let open = |config, sentences| Judge::new(config, Arc::new(Plane), sentences, pictures(), 0);
        let fidelity = super::super::FidelityPenalty { weight: 1.0, floor: 0.5 };
        assert!(open(RewardConfig { fidelity, ..RewardConfig::default() }, None).is_err());
        assert!(open(RewardConfig { similarity: 0.0, ..RewardConfig::default() }, None).is_err());
        assert!(open(RewardConfig { rank: f64::NAN, ..RewardConfig::default() }, None).is_err());
        assert!(
            judge(RewardConfig::default())
                .judge(&[Rollout { query: "1 0", picture: 3, rewrite: "1 0" }])
                .is_err()
        );
    }
}
