//! Preference ranking optimization: of several rewrites, the better for the retriever is to be the likelier one.
//!
//! EvdCLIP, equation 7: L_ALIGN = L_PRO + β·L_SFT, the cross-entropy on the best candidate. The query itself may stand
//! among the candidates with reward 0, so that the rewriter learns when not to rewrite (a departure, `include_query`).

use candle_core::Tensor;
use relens::progress::Progress;
use relens_models::language_model::PromptTargetBatch;
use relens_models::ops::target_log_probs;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config_file::ConfigTable;
use crate::data::CandidateQuery;
use crate::data::candidates::CandidateConfig;
use crate::objectives::{
    RankedCandidate, RewardStandardization, preference_ranking, rank_candidates, sequence_means,
};
use crate::optimizer::GradientAccumulator;
use crate::reward::RewardConfig;
use crate::run::trainer::Trainer;
use crate::stages::rewriter::config::in_range;
use crate::stages::rewriter::plan::{plan, queries_at_hand};
use crate::stages::rewriter::{
    Environment, EpochBatches, Example, LearningStep, Policy, PolicyPass, RunSummary, StepReport,
    encode_pairs, finite_loss, fitting, learn, scored_candidates,
};
use crate::stages::rewriter::{Plan, PlanShape, PolicyConfig, RewriterConfig, RewritingMethod};
use crate::{Result, TrainingError};
use relens::counted::counted;

/// Trains a rewriter, or goes on with a run that was interrupted, and exports the best weights.
///
/// # Errors
/// As [`crate::stages::sft::run`].
pub fn run(config: &ProConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
    learn(config, &config.method.policy, progress, |policy, environment, progress| {
        PreferenceRanking::prepare(config.clone(), policy, environment, progress)
    })
}

/// A query's candidates, best first, with standardised rewards.
#[derive(Debug, Clone)]
struct RankedExample {
    candidates: Vec<Example>,
    rewards: Vec<f32>,
}

/// The stage's own part.
struct PreferenceRanking {
    config: ProConfig,
    examples: Vec<RankedExample>,
    batches: EpochBatches,
}

impl PreferenceRanking {
    fn prepare(
        config: ProConfig,
        policy: &Policy,
        environment: &mut Environment,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let queries =
            scored_candidates(&config.method.candidates, &config.method.reward, environment, progress)?;
        let rewards = queries.iter().flat_map(|query| &query.candidates).filter_map(|found| found.reward);
        let standardization = RewardStandardization::measure(rewards, config.method.reward_scale);
        let mut examples = Vec::new();
        for query in &queries {
            examples.push(rank(query, &config, &standardization, policy)?);
        }
        let name = |index: usize| queries.get(index).map_or(String::new(), |query| query.query.clone());
        let examples = fitting(examples, name, progress);
        if examples.is_empty() {
            let expected = "at least one query with two different candidates";
            return Err(TrainingError::setting("candidates", expected, &"none"));
        }
        progress.message(&format!("{} with ranked candidates", counted(examples.len(), "query")));
        let batches = config.run.batches(examples.len());
        Ok(Self { config, examples, batches })
    }

    /// L_PRO + β·L_SFT of some queries: the loss, and both parts.
    fn loss(
        &self,
        policy: &Policy,
        pass: &PolicyPass<'_>,
        batch: &PromptTargetBatch,
        examples: &[&RankedExample],
    ) -> Result<[Tensor; 3]> {
        let token_log_probs = target_log_probs(&policy.model().logits(&pass.hidden)?, &batch.targets.ids)?;
        let means = sequence_means(&token_log_probs, &batch.targets.offsets)?;
        let rewards: Vec<Vec<f32>> = examples.iter().map(|example| example.rewards.clone()).collect();
        let ranking = preference_ranking(&means, &rewards)?;
        let supervised = best_candidates(&means, &rewards)?.neg()?.mean_all()?;
        let loss = (&ranking + (&supervised * self.config.method.sft_weight)?)?;
        Ok([loss, ranking, supervised])
    }
}

/// The mean log-probability of each query's first candidate.
fn best_candidates(means: &Tensor, rewards: &[Vec<f32>]) -> Result<Tensor> {
    let mut first = 0;
    let mut best = Vec::with_capacity(rewards.len());
    for rewards in rewards {
        best.push(means.narrow(0, first, 1)?);
        first += rewards.len();
    }
    Ok(Tensor::cat(&best, 0)?)
}

/// Sorts and merges a query's candidates; `None` if fewer than two can be ranked and written.
fn rank(
    query: &CandidateQuery,
    config: &ProConfig,
    standardization: &RewardStandardization,
    policy: &Policy,
) -> Result<Option<RankedExample>> {
    let scored = query.candidates.iter().filter_map(|candidate| {
        Some(RankedCandidate {
            text: candidate.text.clone(),
            reward: standardization.apply(candidate.reward?),
        })
    });
    let own = RankedCandidate { text: query.query.clone(), reward: standardization.apply(0.0) };
    let candidates: Vec<RankedCandidate> = scored.chain(config.method.include_query.then_some(own)).collect();
    let prompt = policy.prompts(&[query.query.as_str()])?.swap_remove(0);
    let pairs: Vec<(String, String)> =
        candidates.iter().map(|candidate| (prompt.clone(), candidate.text.clone())).collect();
    let encoded = encode_pairs(policy, &pairs)?;
    let whole = candidates.into_iter().zip(&encoded).filter(|(_, example)| example.is_some());
    let ranked = rank_candidates(whole.map(|(candidate, _)| candidate).collect(), config.method.rank_length);
    let of_text = |text: &str| {
        let place = pairs.iter().position(|(_, target)| target == text)?;
        encoded.get(place).cloned().flatten()
    };
    let rewards: Vec<f32> = ranked.iter().map(|candidate| candidate.reward).collect();
    let examples: Option<Vec<Example>> = ranked.iter().map(|candidate| of_text(&candidate.text)).collect();
    // Candidates that are all worth the same teach nothing.
    let differ = rewards.first() != rewards.last();
    Ok(examples
        .filter(|examples| examples.len() >= 2 && differ)
        .map(|candidates| RankedExample { candidates, rewards }))
}

impl LearningStep for PreferenceRanking {
    type State = ();

    fn batches(&self) -> &EpochBatches {
        &self.batches
    }

    fn step(&mut self, policy: &Policy, trainer: &mut Trainer, step: u64) -> Result<StepReport> {
        let batch = self.batches.batch(step - 1);
        let examples: Vec<&RankedExample> =
            batch.into_iter().filter_map(|index| self.examples.get(index)).collect();
        let micro_batch = self.config.run.micro_batch();
        let mut accumulator = GradientAccumulator::default();
        let mut sums = [0.0; 3];
        for (micro, chunk) in examples.chunks(micro_batch).enumerate() {
            let batch = Example::batch(chunk.iter().flat_map(|example| &example.candidates));
            let pass = policy.pass(&batch, policy.dropout(step, micro))?;
            let parts = self.loss(policy, &pass, &batch, chunk)?;
            for (sum, part) in sums.iter_mut().zip(&parts) {
                *sum += finite_loss(part, step)? * chunk.len() as f64;
            }
            let [loss, ..] = &parts;
            accumulator.add(&pass.gradients(loss, trainer.parameters(), step)?, chunk.len())?;
        }
        let gradients = accumulator
            .take()?
            .ok_or_else(|| TrainingError::argument("pro stage", "at least one query", "none"))?;
        let update = trainer.update(&gradients, step)?;
        let [loss, ranking, supervised] = sums.map(|sum| sum / examples.len().max(1) as f64);
        let metrics = json!({
            "loss": loss,
            "loss/pro": ranking,
            "loss/sft": supervised,
            "learning_rate": update.learning_rate,
            "grad_norm": update.gradient_norm,
        });
        let metrics = metrics.as_object().cloned().unwrap_or_default();
        Ok(StepReport { metrics, ..StepReport::default() })
    }
}

/// Settings of one run.
pub type ProConfig = RewriterConfig<ProMethod>;

/// The method's own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProMethod {
    /// The rewriter that learns.
    pub policy: PolicyConfig,
    /// Queries with candidate rewrites.
    pub candidates: CandidateConfig,
    /// What candidates without a reward are ranked by.
    #[serde(default)]
    pub reward: RewardConfig,
    /// Most candidates of a query, spread from best to worst. Default 5 (both papers), range [2, 64].
    #[serde(default = "rank_length")]
    pub rank_length: usize,
    /// Whether the query itself is a candidate, with the reward of changing nothing. Default false, the papers'.
    #[serde(default)]
    pub include_query: bool,
    /// Deviation of the standardised rewards. Default 1, range (0, 100].
    #[serde(default = "unit")]
    pub reward_scale: f64,
    /// β, the weight of the cross-entropy on the best candidate. Default 0.2 (EvdCLIP), range [0, 100].
    #[serde(default = "sft_weight")]
    pub sft_weight: f64,
}

fn rank_length() -> usize {
    5
}

fn unit() -> f64 {
    1.0
}

fn sft_weight() -> f64 {
    0.2
}

impl RewritingMethod for ProMethod {
    const NAME: &'static str = "pro";
    /// both papers.
    const LEARNING_RATE: f64 = 5e-7;
    /// both papers.
    const EPOCHS: f64 = 5.0;
    /// both papers.
    const BATCH_SIZE: usize = 16;

    fn read(fields: &mut ConfigTable<'_>) -> Result<Self> {
        fields.take()
    }

    fn policy(&mut self) -> Option<&mut PolicyConfig> {
        Some(&mut self.policy)
    }

    fn candidates(&mut self) -> Option<&mut CandidateConfig> {
        Some(&mut self.candidates)
    }

    fn check(&self) -> Result<()> {
        self.reward.check()?;
        in_range("sft_weight", self.sft_weight, 0.0, 100.0)?;
        in_range("reward_scale", self.reward_scale, 1e-6, 100.0)?;
        if !(2..=64).contains(&self.rank_length) {
            return Err(TrainingError::setting("rank_length", "in [2, 64]", &self.rank_length));
        }
        Ok(())
    }

    fn plan(config: &ProConfig) -> Result<Plan> {
        let shape = PlanShape {
            examples: queries_at_hand(Some(&config.method.candidates), &config.run.data)?,
            targets: config.method.rank_length,
            updates: 1,
            samples: false,
        };
        plan(config, &config.method.policy, shape)
    }

    fn run(config: &ProConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
        run(config, progress)
    }
}
