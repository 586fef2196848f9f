//! Supervised fine-tuning on a mixture that is drawn anew in every epoch.

use rand::Rng;
use rand::RngExt;
use rand::seq::SliceRandom;
use relens::enhancer::rewriter::GlossedQuery;
use relens::enhancer::rewriter::glosses::plain;
use relens::knowledge::Knowledge;
use relens::progress::Progress;

use super::SftConfig;
use crate::data::corpus::RewritingCorpus;
use crate::data::mixture::MixturePair;
use crate::data::{Mixture, MixtureConfig};
use crate::random::stream;
use crate::run::trainer::Trainer;
use crate::stages::rewriter::{
    Environment, EpochBatches, Example, LearningStep, Policy, StepReport, encode_pairs, fitting, mean_loss,
    supervised_gradients, supervised_metrics,
};
use crate::{Result, TrainingError};
use relens::counted::counted;

/// Targets whose lengths differ by less stand beside each other by the lengths of their prompts.
const LENGTH_STEP: usize = 3;
/// How often an epoch is filled up with new pairs in the place of those that do not fit.
const FILLINGS: usize = 4;

/// The stage's own part.
pub(super) struct MixtureTuning {
    config: SftConfig,
    mixing: MixtureConfig,
    mixture: Mixture,
    development: Vec<Example>,
    batches: EpochBatches,
    /// The epoch whose batches are at hand.
    epoch: Option<(u64, Vec<Vec<Example>>)>,
}

impl MixtureTuning {
    pub(super) fn prepare(
        config: SftConfig,
        mixing: MixtureConfig,
        policy: &Policy,
        environment: &Environment,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let mixture = Mixture::open(&mixing, &environment.corpus, progress)?;
        let pairs: Vec<(String, String)> = mixture
            .development()
            .iter()
            .map(|pair| Ok((prompt_of(policy, &pair.query, |_| {})?, pair.target.clone())))
            .collect::<Result<_>>()?;
        let name = |index: usize| pairs.get(index).map_or(String::new(), |(prompt, _)| prompt.clone());
        let development = fitting(encode_pairs(policy, &pairs)?, name, progress);
        progress.message(&format!(
            "{} an epoch, {} to choose by",
            counted(mixing.examples_per_epoch, "pair"),
            development.len()
        ));
        let batches = config.run.batches(mixing.examples_per_epoch);
        Ok(Self { config, mixing, mixture, development, batches, epoch: None })
    }

    /// The batches of an epoch: texts of about one length together, for the longest decides how long a batch takes; the
    /// batches in any order.
    fn draw(&self, policy: &Policy, epoch: u64) -> Result<Vec<Vec<Example>>> {
        let mut rng = stream(self.config.run.seed, "mixture", epoch);
        let wanted = self.mixing.examples_per_epoch;
        let mut examples: Vec<Example> = Vec::with_capacity(wanted);
        for _ in 0..FILLINGS {
            let missing = wanted - examples.len();
            let pairs: Vec<(String, String)> = (0..missing)
                .map(|_| {
                    let MixturePair { query, target } = self.mixture.draw(&mut rng)?;
                    let prompt = prompt_of(policy, &query, |glossed| vary(glossed, &self.mixing, &mut rng))?;
                    Ok((prompt, target))
                })
                .collect::<Result<_>>()?;
            examples.extend(encode_pairs(policy, &pairs)?.into_iter().flatten());
        }
        if examples.is_empty() {
            let expected = "pairs that are short enough for the rewriter";
            return Err(TrainingError::setting("mixture", expected, &"none"));
        }
        examples.sort_by_key(|example| (example.target.len() / LENGTH_STEP, example.prompt.len()));
        let mut batches: Vec<Vec<Example>> =
            examples.chunks(self.config.run.batch_size.max(1)).map(<[Example]>::to_vec).collect();
        batches.shuffle(&mut rng);
        Ok(batches)
    }

    fn batch(&mut self, policy: &Policy, step: u64) -> Result<Vec<Example>> {
        let epoch = step / self.batches.steps_per_epoch();
        if self.epoch.as_ref().is_none_or(|(known, _)| *known != epoch) {
            self.epoch = Some((epoch, self.draw(policy, epoch)?));
        }
        let place = (step % self.batches.steps_per_epoch()) as usize;
        let batches = self.epoch.as_ref().map_or(&[][..], |(_, batches)| batches);
        // Where pairs were too long there may be a batch less than there are steps.
        Ok(batches.get(place % batches.len().max(1)).cloned().unwrap_or_default())
    }
}

impl LearningStep for MixtureTuning {
    type State = ();

    fn batches(&self) -> &EpochBatches {
        &self.batches
    }

    fn step(&mut self, policy: &Policy, trainer: &mut Trainer, step: u64) -> Result<StepReport> {
        let examples = self.batch(policy, step - 1)?;
        let micro_batch = self.config.run.micro_batch();
        let smoothing = self.config.method.label_smoothing;
        let (gradients, report) =
            supervised_gradients(policy, trainer, &examples, micro_batch, smoothing, step)?;
        let update = trainer.update(&gradients, step)?;
        Ok(StepReport { metrics: supervised_metrics(report, update), ..StepReport::default() })
    }

    fn validation_loss(&mut self, policy: &Policy) -> Result<f64> {
        if self.development.is_empty() {
            let expected = "queries in `mixture.development`, for checkpoints that are chosen by the loss";
            return Err(TrainingError::setting("evaluation.metric", expected, &"none"));
        }
        mean_loss(policy, &self.development)
    }
}

/// What the policy reads for a query whose glosses were changed by `change`.
fn prompt_of(policy: &Policy, query: &str, change: impl FnOnce(&mut GlossedQuery)) -> Result<String> {
    let Some(glosses) = policy.glosses() else {
        return Ok(policy.prompts(&[query])?.into_iter().next().unwrap_or_default());
    };
    let mut glossed = glosses.of(query);
    change(&mut glossed);
    Ok(policy.prompt_around(&glossed.text()))
}

/// Leaves glosses out, puts others in their place, changes their order: a knowledge base is neither complete nor right.
fn vary(query: &mut GlossedQuery, config: &MixtureConfig, rng: &mut impl Rng) {
    let bare = rng.random_bool(config.without_glosses);
    for part in query.parts.iter_mut().filter(|part| !part.glosses.is_empty()) {
        if bare || rng.random_bool(config.gloss_missing) {
            part.glosses.clear();
            continue;
        }
        if rng.random_bool(config.gloss_of_another_sense)
            && let Some(other) = part.meanings.get(rng.random_range(0..part.meanings.len().max(1))).cloned()
        {
            part.glosses.retain(|gloss| *gloss != other);
            part.glosses.truncate(1);
            part.glosses.insert(0, other);
        }
        if part.glosses.len() > 1 && rng.random_bool(config.glosses_swapped) {
            part.glosses.reverse();
        }
    }
}

/// What a fresh rewriter should be able to write beside captions: what strong writers wrote, and what words mean.
pub(super) fn texts(config: &MixtureConfig, _: &RewritingCorpus) -> Result<Vec<String>> {
    let mut texts = Mixture::better_texts(config)?;
    let words = Knowledge::bundled()?;
    let meanings = words.words().iter().flat_map(|word| word.meanings);
    texts.extend(meanings.map(|meaning| plain(&meaning.text)));
    Ok(texts)
}
