//! Denoising and paraphrasing: how a rewriter from scratch learns to read and write captions.
//!
//! Each example restores a caption from a noisy version of it (BART, Lewis et al. 2020), or writes another caption of
//! the same picture, or copies random words. The first teaches to repair, the second which words may stand for which,
//! the third to copy.
//! No retriever is asked; the best checkpoint has the lowest loss on validation captions.

mod config;
mod copying_head;
pub(super) mod fresh;
mod trunk;

use rand::RngExt;

pub use config::{DenoiseConfig, DenoiseMethod, FreshModel};
pub use trunk::TrunkConfig;

use fresh::FreshStart;

use super::rewriter::{
    Environment, EpochBatches, Example, LearningStep, Policy, PolicyConfig, RunSummary, StepReport,
    encode_pairs, learn, mean_loss, supervised_gradients, supervised_metrics,
};
use crate::Result;
use crate::data::candidates;
use crate::data::corpus::RewritingCorpus;
use crate::data::noise::corrupt;
use crate::random::stream;
use crate::run::trainer::Trainer;
use relens::dataset::DatasetImage;
use relens::progress::Progress;

/// Trains a rewriter from scratch, or goes on with one, and exports the best weights.
///
/// # Errors
/// Those of every stage; see [`crate::stages::sft::run`].
pub fn run(config: &DenoiseConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
    config.check()?;
    let policy = starting_point(config, progress)?;
    learn(config, &policy, progress, |policy, environment, _| {
        Denoising::prepare(config.clone(), policy, environment)
    })
}

/// The directory that training starts from: the one that the settings name, or a fresh model in the run's directory.
fn starting_point(config: &DenoiseConfig, progress: &mut dyn Progress) -> Result<PolicyConfig> {
    let method = &config.method;
    if let Some(directory) = &method.start_from {
        return Ok(PolicyConfig { rewriter: Some(method.rewriter.clone()), ..PolicyConfig::of(directory) });
    }
    let start = FreshStart {
        output: &config.run.output,
        fresh: &method.fresh,
        rewriter: &method.rewriter,
        data: &config.run.data,
        seed: config.run.seed,
    };
    let recorded = |corpus: &RewritingCorpus| {
        let queries = candidates::read_records(&method.extra_texts, corpus)?;
        let texts = queries.into_iter().flat_map(|query| {
            std::iter::once(query.query).chain(query.candidates.into_iter().map(|candidate| candidate.text))
        });
        Ok(texts.collect())
    };
    start.policy(recorded, progress)
}

/// A text, and the captions that say the same.
struct CaptionSource {
    text: String,
    siblings: Vec<String>,
}

/// The stage's own part.
struct Denoising {
    config: DenoiseConfig,
    sources: Vec<CaptionSource>,
    words: Vec<String>,
    validation: Vec<Example>,
    batches: EpochBatches,
}

impl Denoising {
    fn prepare(config: DenoiseConfig, policy: &Policy, environment: &Environment) -> Result<Self> {
        let corpus = &environment.corpus;
        let mut sources = sources_of(&corpus.training);
        for query in candidates::read_records(&config.method.extra_texts, corpus)? {
            let texts: Vec<String> =
                query.candidates.iter().map(|candidate| candidate.text.clone()).collect();
            sources
                .extend(texts.iter().map(|text| CaptionSource { text: text.clone(), siblings: Vec::new() }));
            sources.push(CaptionSource { text: query.query, siblings: texts });
        }
        let validation = validation_pairs(&config, corpus);
        let validation = encode_pairs(policy, &validation)?.into_iter().flatten().collect();
        let batches = config.run.batches(sources.len());
        let words = sources.iter().flat_map(|source| source.text.split_whitespace());
        let words = words.map(str::to_lowercase).collect();
        Ok(Self { config, sources, words, validation, batches })
    }

    fn pair(&self, source: &CaptionSource, step: u64, place: usize) -> (String, String) {
        let mut rng = stream(self.config.run.seed, "noise", (step << 20) + place as u64);
        let copies =
            self.config.method.random_words > 0.0 && rng.random_bool(self.config.method.random_words);
        if copies && !self.words.is_empty() {
            let text = self.random_words(&mut rng);
            return (corrupt(&text, &self.config.method.noise, &mut rng), text);
        }
        let paraphrases = !source.siblings.is_empty() && rng.random_bool(self.config.method.paraphrase);
        if paraphrases && let Some(sibling) = source.siblings.get(rng.random_range(0..source.siblings.len()))
        {
            return (source.text.clone(), sibling.clone());
        }
        (corrupt(&source.text, &self.config.method.noise, &mut rng), source.text.clone())
    }
}

/// Words of a random sequence, at least and at most.
const RANDOM_WORDS: std::ops::RangeInclusive<usize> = 3..=9;

impl Denoising {
    fn random_words(&self, rng: &mut impl rand::Rng) -> String {
        let count = rng.random_range(RANDOM_WORDS);
        let words = (0..count).filter_map(|_| self.words.get(rng.random_range(0..self.words.len())));
        words.map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

impl LearningStep for Denoising {
    type State = ();

    fn batches(&self) -> &EpochBatches {
        &self.batches
    }

    fn learning_rate_scale(&self, name: &str) -> f64 {
        if name == "shared.weight" { self.config.method.embedding_rate } else { 1.0 }
    }

    fn step(&mut self, policy: &Policy, trainer: &mut Trainer, step: u64) -> Result<StepReport> {
        let pairs: Vec<(String, String)> = self
            .batches
            .batch(step - 1)
            .into_iter()
            .enumerate()
            .filter_map(|(place, index)| Some(self.pair(self.sources.get(index)?, step, place)))
            .collect();
        let examples: Vec<Example> = encode_pairs(policy, &pairs)?.into_iter().flatten().collect();
        let skipped = pairs.len() - examples.len();
        if examples.is_empty() {
            let message =
                format!("step {step}: all {skipped} samples are longer than the rewriter can write, skipped");
            return Ok(StepReport { messages: vec![message], ..StepReport::default() });
        }
        let micro_batch = self.config.run.micro_batch();
        let (gradients, report) = supervised_gradients(policy, trainer, &examples, micro_batch, 0.0, step)?;
        let update = trainer.update(&gradients, step)?;
        let mut metrics = supervised_metrics(report, update);
        metrics.insert("skipped".to_owned(), skipped.into());
        Ok(StepReport { metrics, ..StepReport::default() })
    }

    fn validation_loss(&mut self, policy: &Policy) -> Result<f64> {
        mean_loss(policy, &self.validation)
    }
}

fn sources_of(pictures: &[DatasetImage]) -> Vec<CaptionSource> {
    let of = |picture: &DatasetImage| -> Vec<CaptionSource> {
        let others = |own: usize| {
            let all = picture.captions.iter().enumerate();
            all.filter(move |(other, _)| *other != own).map(|(_, caption)| caption.clone()).collect()
        };
        let captions = picture.captions.iter().enumerate();
        captions.map(|(own, text)| CaptionSource { text: text.clone(), siblings: others(own) }).collect()
    };
    pictures.iter().flat_map(of).collect()
}

/// The same pairs at every measurement: half of them noisy captions, half of them paraphrases.
fn validation_pairs(config: &DenoiseConfig, corpus: &RewritingCorpus) -> Vec<(String, String)> {
    let sources = sources_of(&corpus.validation);
    let limit =
        if config.run.evaluation.queries == 0 { sources.len() } else { config.run.evaluation.queries };
    let stride = (sources.len() / limit.max(1)).max(1);
    sources
        .iter()
        .step_by(stride)
        .take(limit)
        .enumerate()
        .map(|(place, source)| match source.siblings.first().filter(|_| place % 2 == 1) {
            Some(sibling) => (source.text.clone(), sibling.clone()),
            None => {
                let mut rng = stream(config.run.seed, "validation noise", place as u64);
                (corrupt(&source.text, &config.method.noise, &mut rng), source.text.clone())
            }
        })
        .collect()
}
