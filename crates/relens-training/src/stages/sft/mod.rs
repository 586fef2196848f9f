//! Supervised fine-tuning: the rewriter learns to write the rewrite that the retriever likes best.
//!
//! EvdCLIP, equation 4 and MGQRe, section 3.2: cross-entropy of the best rewrite given the query. Candidates without a
//! reward are shown to the retriever first; a query none of whose candidates beats it is left out, or teaches the
//! rewriter to leave such queries alone (`keep_share`). What a strong writer wrote can be learned without asking anybody
//! (`trusted`), or a [mixture](crate::data::mixture) of it and of captions made hard, drawn anew in every epoch; then a
//! fresh rewriter may begin, too.
//!
//! ```no_run
//! use relens::progress::Silent;
//! use relens_training::stages::sft::{self, SftConfig};
//!
//! let config = SftConfig::read("configs/mgqre/sft.toml".as_ref())?;
//! let summary = sft::run(&config, &mut Silent)?;
//! println!("{} has {:?}", summary.model.display(), summary.metrics);
//! # Ok::<(), relens_training::TrainingError>(())
//! ```

mod mixture;

use rand::RngExt;
use relens::progress::Progress;
use serde::{Deserialize, Serialize};

use self::mixture::MixtureTuning;
use crate::config_file::ConfigTable;
use crate::data::candidates::{self, CandidateConfig};
use crate::data::{CandidateQuery, MixtureConfig};
use crate::random::stream;
use crate::reward::RewardConfig;
use crate::run::trainer::Trainer;
use crate::stages::denoise::FreshModel;
use crate::stages::denoise::fresh::FreshStart;
use crate::stages::rewriter::config::in_range;
use crate::stages::rewriter::plan::{plan, queries_at_hand};
use crate::stages::rewriter::{
    Environment, EpochBatches, Example, LearningStep, Policy, RunSummary, StepReport, encode_pairs, fitting,
    learn, score, supervised_gradients, supervised_metrics,
};
use crate::stages::rewriter::{Plan, PlanShape, PolicyConfig, RewriterConfig, RewritingMethod};
use crate::{Result, TrainingError};
use relens::counted::counted;

/// Trains a rewriter, or goes on with a run that was interrupted, and exports the best weights.
///
/// A finished run is left as it is and its summary returned.
///
/// # Errors
/// [`TrainingError::RunChanged`] and
/// [`TrainingError::RunLocked`] for the run directory; data, pictures or weights that
/// cannot be read; a loss or gradient that is not finite, with its step; a full disk;
/// [`TrainingError::Interrupted`] where `progress` asked for it. The last
/// checkpoint stays in every case.
pub fn run(config: &SftConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
    config.check()?;
    let policy = starting_point(config, progress)?;
    let Some(mixing) = &config.method.mixture else {
        return learn(config, &policy, progress, |policy, environment, progress| {
            SupervisedFineTuning::prepare(config.clone(), policy, environment, progress)
        });
    };
    learn(config, &policy, progress, |policy, environment, progress| {
        MixtureTuning::prepare(config.clone(), mixing.clone(), policy, environment, progress)
    })
}

/// The rewriter that the settings name, or a fresh one in the run's directory.
fn starting_point(config: &SftConfig, progress: &mut dyn Progress) -> Result<PolicyConfig> {
    let (policy, mixture) = (&config.method.policy, &config.method.mixture);
    let (Some(fresh), Some(mixture)) = (&config.method.fresh, mixture) else { return Ok(policy.clone()) };
    let rewriter = policy.rewriter.clone().unwrap_or_default();
    let start = FreshStart {
        output: &config.run.output,
        fresh,
        rewriter: &rewriter,
        data: &config.run.data,
        seed: config.run.seed,
    };
    let begun = start.policy(|corpus| mixture::texts(mixture, corpus), progress)?;
    Ok(PolicyConfig { dropout: policy.dropout, lora: policy.lora.clone(), ..begun })
}

/// The stage's own part.
struct SupervisedFineTuning {
    config: SftConfig,
    examples: Vec<Example>,
    batches: EpochBatches,
}

impl SupervisedFineTuning {
    fn prepare(
        config: SftConfig,
        policy: &Policy,
        environment: &mut Environment,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let read = candidates::read(&config.method.candidates, &environment.corpus)?;
        let (trusted, asked) = by_trust(read, &config.method.trusted);
        let scored = match asked.is_empty() {
            true => asked,
            false => score(asked, &config.method.reward, environment, progress)?,
        };
        let mut pairs = trusted_pairs(&trusted, config.method.targets_per_query);
        pairs.extend(training_pairs(&scored, &config));
        let queries: Vec<&str> = pairs.iter().map(|(query, _)| *query).collect();
        let prompts = policy.prompts(&queries)?;
        let texts: Vec<(String, String)> = prompts
            .into_iter()
            .zip(&pairs)
            .map(|(prompt, (_, target))| (prompt, (*target).to_owned()))
            .collect();
        let name = |index: usize| queries.get(index).map_or(String::new(), |query| (*query).to_owned());
        let examples = fitting(encode_pairs(policy, &texts)?, name, progress);
        if examples.is_empty() {
            return Err(crate::TrainingError::setting(
                "candidates",
                "at least one query with a rewrite that the retriever likes better by `min_gain`",
                &"none",
            ));
        }
        progress.message(&counted(examples.len(), "example"));
        let batches = config.run.batches(examples.len());
        Ok(Self { config, examples, batches })
    }
}

/// The queries with their candidates of trusted kinds, and those with their others; without candidates they are left
/// out.
fn by_trust(queries: Vec<CandidateQuery>, trusted: &[String]) -> (Vec<CandidateQuery>, Vec<CandidateQuery>) {
    let (mut taken, mut asked) = (Vec::new(), Vec::new());
    for CandidateQuery { query, picture, candidates } in queries {
        let (of_trust, others): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| trusted.contains(&candidate.kind));
        for (candidates, list) in [(of_trust, &mut taken), (others, &mut asked)] {
            if !candidates.is_empty() {
                list.push(CandidateQuery { query: query.clone(), picture, candidates });
            }
        }
    }
    (taken, asked)
}

/// (query, target): the first candidates of each query as they come.
fn trusted_pairs(queries: &[CandidateQuery], targets_per_query: usize) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    for CandidateQuery { query, candidates, .. } in queries {
        let first = candidates.iter().take(targets_per_query);
        pairs.extend(first.map(|candidate| (query.as_str(), candidate.text.as_str())));
    }
    pairs
}

/// (query, target): up to `targets_per_query` candidates that beat the query, the best first; and for a share of the
/// other queries the query itself.
fn training_pairs<'a>(queries: &'a [CandidateQuery], config: &SftConfig) -> Vec<(&'a str, &'a str)> {
    let mut rng = stream(config.run.seed, "kept queries", 0);
    let mut pairs = Vec::new();
    for query in queries {
        let mut better: Vec<(f32, &str)> = query
            .candidates
            .iter()
            .filter_map(|candidate| Some((candidate.reward?, candidate.text.as_str())))
            .filter(|(reward, _)| f64::from(*reward) > config.method.min_gain)
            .collect();
        better.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(right.1)));
        better.dedup_by(|left, right| left.1 == right.1);
        let keep = rng.random_bool(config.method.keep_share);
        if better.is_empty() && keep {
            pairs.push((query.query.as_str(), query.query.as_str()));
        }
        pairs.extend(
            better
                .into_iter()
                .take(config.method.targets_per_query)
                .map(|(_, text)| (query.query.as_str(), text)),
        );
    }
    pairs
}

impl LearningStep for SupervisedFineTuning {
    type State = ();

    fn batches(&self) -> &EpochBatches {
        &self.batches
    }

    fn step(&mut self, policy: &Policy, trainer: &mut Trainer, step: u64) -> Result<StepReport> {
        let batch = self.batches.batch(step - 1);
        let examples: Vec<Example> =
            batch.into_iter().filter_map(|index| self.examples.get(index).cloned()).collect();
        let config = &self.config;
        let micro_batch = config.run.micro_batch();
        let (gradients, report) = supervised_gradients(
            policy,
            trainer,
            &examples,
            micro_batch,
            config.method.label_smoothing,
            step,
        )?;
        let update = trainer.update(&gradients, step)?;
        Ok(StepReport { metrics: supervised_metrics(report, update), ..StepReport::default() })
    }
}

/// Settings of one run.
pub type SftConfig = RewriterConfig<SftMethod>;

/// The method's own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SftMethod {
    /// The rewriter that learns.
    #[serde(default)]
    pub policy: PolicyConfig,
    /// Sizes of a fresh rewriter that learns from the `mixture`, in place of `policy.start_from`. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<FreshModel>,
    /// What is learned in place of `candidates`: pairs that are drawn anew in every epoch. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixture: Option<MixtureConfig>,
    /// Queries with candidate rewrites.
    #[serde(default)]
    pub candidates: CandidateConfig,
    /// What candidates without a reward are ranked by.
    #[serde(default)]
    pub reward: RewardConfig,
    /// Least reward of a rewrite that is learned. Default 0: it beats the query ("positive feedback", EvdCLIP).
    #[serde(default)]
    pub min_gain: f64,
    /// Rewrites of a query that are learned, best first. Default 1, the papers'; at least 1.
    #[serde(default = "one")]
    pub targets_per_query: usize,
    /// Share of the queries without a better rewrite that teach to leave the query as it is. Default 0, range [0, 1].
    #[serde(default)]
    pub keep_share: f64,
    /// Kinds of candidates that are learned without asking the retriever, in the order in which they come: `concept` and
    /// `caption` of recorded answers, say. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<String>,
    /// ε of label smoothing. Default 0, range [0, 1).
    #[serde(default)]
    pub label_smoothing: f64,
}

fn one() -> usize {
    1
}

impl RewritingMethod for SftMethod {
    const NAME: &'static str = "sft";
    /// EvdCLIP, T5-large; MGQRe has 1e-5 for Llama2-7B.
    const LEARNING_RATE: f64 = 3e-5;
    /// EvdCLIP; MGQRe has 10.
    const EPOCHS: f64 = 20.0;
    /// EvdCLIP; MGQRe has 32.
    const BATCH_SIZE: usize = 8;

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
        in_range("keep_share", self.keep_share, 0.0, 1.0)?;
        in_range("label_smoothing", self.label_smoothing, 0.0, 0.99)?;
        if !self.min_gain.is_finite() {
            return Err(TrainingError::setting("min_gain", "a finite number", &self.min_gain));
        }
        if let Some(mixture) = &self.mixture {
            mixture.check()?;
        }
        let begins = !self.policy.start_from.as_os_str().is_empty();
        if begins == self.fresh.is_some() {
            let expected = "either a rewriter to start from, or the sizes of a fresh one in [fresh]";
            return Err(TrainingError::setting(
                "policy.start_from",
                expected,
                &self.policy.start_from.display(),
            ));
        }
        if self.fresh.is_some() && self.mixture.is_none() {
            let expected = "with [fresh]: a fresh rewriter learns from a mixture";
            return Err(TrainingError::setting("mixture", expected, &"none"));
        }
        if let Some(fresh) = &self.fresh {
            fresh.check()?;
        }
        if self.targets_per_query == 0 {
            return Err(TrainingError::setting("targets_per_query", "at least 1", &self.targets_per_query));
        }
        Ok(())
    }

    fn plan(config: &SftConfig) -> Result<Plan> {
        let method = &config.method;
        let (examples, targets) = match &method.mixture {
            Some(mixture) => (Some(mixture.examples_per_epoch), 1),
            None => (queries_at_hand(Some(&method.candidates), &config.run.data)?, method.targets_per_query),
        };
        let shape = PlanShape { examples, targets, updates: 1, samples: false };
        match &method.fresh {
            Some(fresh) => fresh.plan(config, shape),
            None => plan(config, &method.policy, shape),
        }
    }

    fn run(config: &SftConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
        run(config, progress)
    }
}
