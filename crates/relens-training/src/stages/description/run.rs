//! Descriptions in the loop: an epoch shows one caption of every picture, and is measured at its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use rand::RngExt;
use rand::seq::SliceRandom;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::evaluation::{GroundTruthRanks, RankingMetrics};
use relens::progress::Progress;
use relens::ranking::CombinedQueries;
use relens_models::layers::DropoutGenerator;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::config::DescriptionConfig;
use super::described_data::{DescribedCaption, DescribedData, DescribedSplit};
use crate::Result;
use crate::objectives::contrastive::{ContrastiveObjective, MAX_LOGIT_SCALE, clamp_logit_scale, contrastive};
use crate::objectives::targets::ContrastiveTargets;
use crate::optimizer::{Gradients, NamedParameter};
use crate::random::stream;
use crate::run::log::object;
use crate::run::stage::{Measurement, Phase, PhaseStart, Stage, Step, StepReport};
use crate::run::trainer::{Trainer, TrainerConfig, set_variable};
use crate::run::training::{LoopConfig, Run, StartingWeights};
use crate::schedule::{Decay, Schedule};
use crate::stages::rewriter::finite_loss;

/// Checkpoints that are kept beside the best.
const KEEP: usize = 2;
/// Captions that are measured at once.
const MEASURED_AT_ONCE: usize = 1000;

/// What a finished run has to show.
#[derive(Debug, Clone, PartialEq)]
pub struct DescriptionSummary {
    /// What was learned, as the enhancer reads it.
    pub file: PathBuf,
    /// The epoch it is of; 0 is before training.
    pub best_epoch: u64,
    /// How well descriptions alone retrieve the pictures of the validation split, text to image, at that epoch.
    pub metrics: Map<String, Value>,
}

/// Trains a network and writes the best.
pub(super) fn run<N: DescriptionNetwork>(
    config: &DescriptionConfig<N::Network>,
    progress: &mut dyn Progress,
) -> Result<DescriptionSummary>
where
    N::Network: Serialize,
{
    config.check()?;
    let run = Run::open(&config.output, config, KEEP)?;
    let retriever = Arc::new(Retriever::load(&config.model)?);
    let data = DescribedData::prepare(config, &retriever, progress)?;
    drop(retriever);
    let network = N::new(config, &data)?;
    let start = Tensor::full(config.training.initial_logit_scale as f32, (), &Device::Cpu)?;
    let mut stage = DescriptionStage {
        config,
        data,
        network,
        logit_scale: Var::from_tensor(&start)?,
        batches: (0, Vec::new()),
    };
    let training_loop = LoopConfig {
        // What is learned may be worse than descriptions as they are.
        start: StartingWeights::MayWin,
        measure_every: 0,
        save_every: 0,
        saves_when_cancelled: false,
        patience: 0,
    };
    let trained = run.train(&mut stage, training_loop, progress)?;
    let file = trained.path().join(stage.network.write(&stage.data, trained.path())?);
    let summary = trained.summary(trained.metrics());
    let best_epoch = summary.best_step / stage.steps_per_epoch().max(1);
    Ok(DescriptionSummary { file, best_epoch, metrics: summary.metrics })
}

/// A network over descriptions as the loop sees it.
struct DescriptionStage<'a, N: DescriptionNetwork> {
    config: &'a DescriptionConfig<N::Network>,
    data: DescribedData,
    network: N,
    logit_scale: Var,
    /// An epoch, counted from 1, and its batches.
    batches: (u64, Vec<Vec<(usize, usize)>>),
}

impl<N: DescriptionNetwork> DescriptionStage<'_, N> {
    fn parameters(&self) -> Vec<NamedParameter> {
        let mut parameters = self.network.parameters();
        parameters.push(NamedParameter::new("logit_scale", self.logit_scale.clone()));
        parameters
    }

    /// The same in every epoch.
    fn steps_per_epoch(&self) -> u64 {
        let described = self.data.training.captions.iter().filter(|captions| !captions.is_empty());
        let pictures = described.count();
        (pictures / self.config.training.batch_size.min(pictures).max(1)) as u64
    }

    /// (picture, caption) of a step, counted from 0.
    fn choice(&mut self, step: u64) -> Vec<(usize, usize)> {
        let per_epoch = self.steps_per_epoch().max(1);
        let (epoch, place) = (step / per_epoch + 1, (step % per_epoch) as usize);
        // An epoch's order is a function of the seed and its number, so that a run can go on in the middle of one.
        if self.batches.0 != epoch {
            let size = self.config.training.batch_size;
            self.batches = (epoch, batches_of(&self.data.training, self.config.seed, size, epoch));
        }
        self.batches.1.get(place).cloned().unwrap_or_default()
    }

    /// How descriptions alone rank the pictures of the validation split.
    fn ranking(&self) -> Result<RankingMetrics> {
        let split = &self.data.validation;
        let all = split.captions.iter().enumerate();
        let all: Vec<(usize, &DescribedCaption)> =
            all.flat_map(|(image, captions)| captions.iter().map(move |caption| (image, caption))).collect();
        let mut queries = Embeddings::new(self.data.dim());
        for chunk in all.chunks(MEASURED_AT_ONCE) {
            let captions: Vec<&DescribedCaption> = chunk.iter().map(|(_, caption)| *caption).collect();
            let rows = self.network.embed(&self.data.batch(&captions)?, None)?;
            let values = rows.detach().flatten_all()?.to_vec1::<f32>()?;
            queries.append(&Embeddings::from_rows(self.data.dim(), values)?)?;
        }
        let image_of_caption: Vec<usize> = all.iter().map(|(image, _)| *image).collect();
        let queries = CombinedQueries::single(queries);
        let ranks = GroundTruthRanks::compute(&split.images, &queries, &image_of_caption)?;
        Ok(RankingMetrics::from_ranks(&ranks.text_to_image, &[1, 5, 10])?)
    }
}

impl<N: DescriptionNetwork> Stage for DescriptionStage<'_, N> {
    type State = ();

    fn begin(&mut self, _: usize) -> Result<Phase> {
        let settings = self.config.training;
        let steps_per_epoch = self.steps_per_epoch();
        let steps = steps_per_epoch * settings.epochs;
        let schedule = Schedule {
            peak: settings.learning_rate,
            floor: 0.0,
            warmup_steps: (steps.max(1) as f64 * settings.warmup) as u64,
            total_steps: steps.max(1),
            decay: Decay::Cosine,
        };
        let trainer =
            TrainerConfig { adamw: self.config.optimizer, clip_norm: 1.0, average_decay: None, schedule };
        Ok(Phase {
            name: "descriptions".to_owned(),
            trainer,
            parameters: self.parameters(),
            steps,
            steps_per_epoch,
            start: PhaseStart::Best,
        })
    }

    fn step(&mut self, trainer: &mut Trainer, step: Step) -> Result<StepReport> {
        let choice = self.choice(step.in_phase);
        let training = &self.data.training;
        let captions: Vec<&DescribedCaption> = choice
            .iter()
            .filter_map(|&(image, caption)| training.captions.get(image)?.get(caption))
            .collect();
        let images: Vec<usize> = choice.iter().map(|&(image, _)| image).collect();
        let images = training.images.select(&images)?;
        let images = Tensor::from_slice(images.as_slice(), (images.rows(), images.dim()), &Device::Cpu)?;
        let mut generator = stream(self.config.seed, "dropout", step.number);
        let texts = self.network.embed(&self.data.batch(&captions)?, Some(&mut generator))?;
        let diagonal: Vec<u32> = (0..choice.len() as u32).collect();
        let targets = ContrastiveTargets::joint(choice.len(), &diagonal, &Device::Cpu)?;
        let objective = ContrastiveObjective::default();
        let loss = contrastive(&images, &texts, self.logit_scale.as_tensor(), &targets, &objective)?.loss;
        let value = finite_loss(&loss, step.number)?;
        let gradients = Gradients::take(&mut loss.backward()?, trainer.parameters(), step.number)?;
        let update = trainer.update(&gradients, step.number)?;
        clamp_logit_scale(&self.logit_scale, MAX_LOGIT_SCALE)?;
        let metrics = object(json!({
            "loss": value,
            "learning_rate": update.learning_rate,
            "gradient_norm": update.gradient_norm,
        }));
        Ok(StepReport { metrics, ..StepReport::default() })
    }

    fn measure(&mut self, _: u64, _: &mut dyn Progress) -> Result<Measurement> {
        let measured = self.ranking()?;
        let mut metrics = Map::new();
        for (k, recall) in &measured.recall {
            metrics.insert(format!("image_retrieval_recall@{k}"), json!(recall));
        }
        let selection = measured.mean_reciprocal_rank;
        metrics.insert("image_retrieval_mean_reciprocal_rank".to_owned(), json!(selection));
        Ok(Measurement { metrics, selection, samples: Vec::new() })
    }

    fn set_weights(&mut self, weights: &BTreeMap<String, Tensor>) -> Result<()> {
        self.parameters()
            .iter()
            .try_for_each(|parameter| set_variable(&parameter.name, &parameter.var, weights))
    }
}

/// Batches of an epoch: pictures that have a described caption in random order, with one of their captions each. What is
/// left over at the end is passed over, for a batch's size decides how hard it is.
fn batches_of(split: &DescribedSplit, seed: u64, size: usize, epoch: u64) -> Vec<Vec<(usize, usize)>> {
    let mut random = stream(seed, "batches", epoch);
    let mut pictures: Vec<usize> =
        (0..split.captions.len()).filter(|&image| !split.captions[image].is_empty()).collect();
    pictures.shuffle(&mut random);
    let size = size.min(pictures.len()).max(1);
    let choice = |image: &usize| (*image, random.random_range(0..split.captions[*image].len()));
    let chosen: Vec<(usize, usize)> = pictures.iter().map(choice).collect();
    chosen.chunks_exact(size).map(<[_]>::to_vec).collect()
}

/// The descriptions of some captions, packed.
pub(super) struct DescriptionBatch {
    /// The descriptions' embeddings, `[rows, dim]`.
    pub(super) rows: Tensor,
    /// Which description of the knowledge base each row is, `[rows]`.
    pub(super) descriptions: Vec<u32>,
    /// Where each caption's rows begin, and the end of the last.
    pub(super) offsets: Vec<usize>,
}

/// Turns the descriptions of a caption into one vector.
pub(super) trait DescriptionNetwork: Sized {
    /// Its own settings.
    type Network;

    /// A network at its beginning.
    fn new(config: &DescriptionConfig<Self::Network>, data: &DescribedData) -> Result<Self>;

    /// # Shapes
    /// - result: `[captions, dim]`, L2-normalised
    fn embed(&self, batch: &DescriptionBatch, generator: Option<&mut DropoutGenerator>) -> Result<Tensor>;

    /// What is trained.
    fn parameters(&self) -> Vec<NamedParameter>;

    /// Writes what was learned into the run directory, as the enhancer reads it; the file's name.
    fn write(&self, data: &DescribedData, directory: &Path) -> Result<&'static str>;
}
