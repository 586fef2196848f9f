//! What the retriever makes of the policy's rewrites of validation captions.

use std::sync::Arc;

use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::evaluation::{GroundTruthRanks, RankingMetrics};
use relens::ranking::CombinedQueries;
use serde_json::{Map, Value, json};

use super::config::{RewriterEvaluation, RewriterMetric};
use super::environment::Environment;
use super::policy::Policy;
use super::rollouts;
use crate::Result;
use crate::retriever_feedback::SIMILARITY_SCALE;
use crate::run::stage::Measurement;
use relens::progress::Progress;

/// The cut-offs that are reported.
const RECALL_AT: [usize; 3] = [1, 5, 10];
/// The mean gain of similarity with the right pictures, among a measurement's metrics.
pub(super) const SIMILARITY_REWARD: &str = "similarity_reward";

/// Validation captions, pictures, and how the captions themselves fare.
pub(super) struct Validator {
    retriever: Arc<Retriever>,
    pictures: Embeddings,
    queries: Vec<String>,
    picture_of_query: Vec<usize>,
    query_vectors: Embeddings,
    identity: GroundTruthRanks,
    settings: RewriterEvaluation,
}

impl Validator {
    /// Embeds pictures and captions and ranks them.
    pub(super) fn prepare(
        environment: &mut Environment,
        settings: &RewriterEvaluation,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let pictures = environment.validation_pictures(progress)?;
        let retriever = environment.retriever()?;
        let (picture_of_query, queries): (Vec<usize>, Vec<String>) = environment
            .corpus
            .validation_queries(settings.queries)
            .into_iter()
            .map(|(picture, query)| (picture, query.to_owned()))
            .unzip();
        let query_vectors = retriever.embed_texts(&queries)?;
        let identity = GroundTruthRanks::compute(
            &pictures,
            &CombinedQueries::single(query_vectors.clone()),
            &picture_of_query,
        )?;
        let settings = settings.clone();
        Ok(Self { retriever, pictures, queries, picture_of_query, query_vectors, identity, settings })
    }

    /// Rewrites all captions greedily and ranks the pictures for them.
    pub(super) fn measure(&self, policy: &Policy, step: u64) -> Result<Measurement> {
        let queries: Vec<&str> = self.queries.iter().map(String::as_str).collect();
        let mut rewrites = rollouts::rewrite_greedily(policy, &queries)?;
        let empty = rewrites.iter().filter(|rewrite| rewrite.is_empty()).count();
        for (rewrite, query) in rewrites.iter_mut().zip(&self.queries) {
            if rewrite.is_empty() {
                rewrite.clone_from(query);
            }
        }
        let vectors = self.retriever.embed_texts(&rewrites)?;
        let alone = self.ranks(vectors.clone())?;
        let mean =
            self.ranks(mean_rows(&self.query_vectors, &vectors, policy.settings().mix.original_share)?)?;
        let mut metrics = Map::new();
        let mut recall_at_1 = [0.0; 2];
        let named = [("rewrite", &alone), ("mean_score", &mean), ("identity", &self.identity)];
        for (place, (name, ranks)) in named.into_iter().enumerate() {
            let found = RankingMetrics::from_ranks(&ranks.text_to_image, &RECALL_AT)?;
            for (k, recall) in &found.recall {
                metrics.insert(format!("{name}_image_retrieval_recall@{k}"), json!(recall));
            }
            if let Some(first) = recall_at_1.get_mut(place) {
                *first = found.recall_at(1).unwrap_or(0.0);
            }
        }
        let (better, worse) = self.better_and_worse(&alone);
        let (gain, everywhere) = self.similarity_gains(&vectors);
        metrics.insert("share_better".to_owned(), json!(better));
        metrics.insert("share_worse".to_owned(), json!(worse));
        metrics.insert("share_changed".to_owned(), json!(self.share_changed(&rewrites)));
        metrics.insert("empty_rewrites".to_owned(), json!(empty));
        metrics.insert(SIMILARITY_REWARD.to_owned(), json!(gain));
        // Rising together with the reward, this is the inflation of every score that METHOD warns of.
        metrics.insert("similarity_reward_all_pictures".to_owned(), json!(everywhere));
        let samples = self.samples(step, &rewrites, &alone);
        let selection = match self.settings.metric {
            RewriterMetric::MeanScoreRecall => recall_at_1[1],
            RewriterMetric::RewriteRecall | RewriterMetric::Loss => recall_at_1[0],
        };
        Ok(Measurement { metrics, selection, samples })
    }

    fn ranks(&self, vectors: Embeddings) -> Result<GroundTruthRanks> {
        let queries = CombinedQueries::single(vectors);
        Ok(GroundTruthRanks::compute(&self.pictures, &queries, &self.picture_of_query)?)
    }

    fn better_and_worse(&self, ranks: &GroundTruthRanks) -> (f64, f64) {
        let pairs = || self.identity.text_to_image.iter().zip(&ranks.text_to_image);
        let share = |count: usize| count as f64 / self.queries.len().max(1) as f64;
        let better = pairs().filter(|(before, after)| after < before).count();
        let worse = pairs().filter(|(before, after)| after > before).count();
        (share(better), share(worse))
    }

    fn share_changed(&self, rewrites: &[String]) -> f64 {
        let changed = rewrites.iter().zip(&self.queries).filter(|(rewrite, query)| {
            rewrite.to_lowercase().split_whitespace().ne(query.to_lowercase().split_whitespace())
        });
        changed.count() as f64 / self.queries.len().max(1) as f64
    }

    /// Mean change of the similarity with the right picture, and with all pictures; times the reward's scale.
    fn similarity_gains(&self, vectors: &Embeddings) -> (f64, f64) {
        let mut mean = vec![0f32; self.pictures.dim()];
        for row in self.pictures.iter() {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / self.pictures.rows() as f32);
        }
        let dot = |left: &[f32], right: &[f32]| -> f64 {
            left.iter().zip(right).map(|(left, right)| f64::from(left * right)).sum()
        };
        let (mut own, mut all) = (0.0, 0.0);
        for ((before, after), &picture) in
            self.query_vectors.iter().zip(vectors.iter()).zip(&self.picture_of_query)
        {
            let picture = self.pictures.row(picture);
            own += dot(after, picture) - dot(before, picture);
            all += dot(after, &mean) - dot(before, &mean);
        }
        let share = f64::from(SIMILARITY_SCALE) / self.queries.len().max(1) as f64;
        (own * share, all * share)
    }

    fn samples(&self, step: u64, rewrites: &[String], ranks: &GroundTruthRanks) -> Vec<Map<String, Value>> {
        let count = self.settings.samples.min(rewrites.len());
        let places = (0..count).map(|place| place * rewrites.len() / count.max(1));
        places
            .map(|place| {
                Map::from_iter([
                    ("step".to_owned(), json!(step)),
                    ("query".to_owned(), json!(self.queries[place])),
                    ("rewrite".to_owned(), json!(rewrites[place])),
                    ("rank_before".to_owned(), json!(self.identity.text_to_image.get(place))),
                    ("rank_after".to_owned(), json!(ranks.text_to_image.get(place))),
                ])
            })
            .collect()
    }
}

/// `share·left + (1 − share)·right`, row by row: the vector whose score is the mean of both scores.
fn mean_rows(left: &Embeddings, right: &Embeddings, share: f32) -> Result<Embeddings> {
    let values = left.as_slice().iter().zip(right.as_slice());
    let mixed = values.map(|(left, right)| share * left + (1.0 - share) * right).collect();
    Ok(Embeddings::from_rows(left.dim(), mixed)?)
}
