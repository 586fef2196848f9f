//! One batch: embeddings, loss, gradients; and what the weights measure. Which pairs of a picture and a text make
//! it is a function of the seed and its number.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::progress::Progress;
use relens_models::dual_encoder::architecture::{ImageEncoder, TextEncoder};
use relens_models::image_preprocessing::decode_image;

use super::network::TunedNetwork;
use super::{FineTuneConfig, FineTuneOptimization};
use crate::objectives::{ContrastiveObjective, ContrastiveTargets, contrastive};
use crate::optimizer::{Gradients, NamedParameter};
use crate::run::gradient_cache::{ChunkedEncoder, cached_gradients, chunks};
use crate::stages::retriever::batches::one_of;
use crate::stages::retriever::config::DataConfig;
use crate::stages::retriever::corpus::{Corpus, ImageTexts};
use crate::stages::retriever::validation::{RetrievalMeasurement, append};
use crate::{Result, TrainingError, random};

/// Pictures that are embedded at once where nothing is learned.
const PICTURES: usize = 16;
/// Texts that are embedded at once where nothing is learned.
const TEXTS: usize = 128;

/// What a run computes its batches with.
pub(super) struct Workbench<'a> {
    pub(super) config: &'a FineTuneConfig,
    pub(super) retriever: &'a Retriever,
    pub(super) corpus: Arc<Corpus>,
    pub(super) network: TunedNetwork,
    /// Embeddings of all pictures, training first, if the image side is frozen.
    pub(super) frozen_pictures: Option<Embeddings>,
}

/// The losses of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Losses {
    pub(super) loss: f64,
    pub(super) image_to_text: f64,
    pub(super) text_to_image: f64,
}

impl Workbench<'_> {
    /// The loss of a batch and its gradients.
    ///
    /// # Errors
    /// A picture that cannot be read; a loss that is not finite, with the step; a parameter that takes no part in it.
    pub(super) fn gradients(
        &self,
        batch: &PairBatch,
        parameters: &[NamedParameter],
        step: u64,
    ) -> Result<(Losses, Gradients)> {
        let settings = &self.config.optimization;
        let (images, texts) = (ImageBatch::prepare(self, batch)?, TextBatch::prepare(self, batch)?);
        let targets = ContrastiveTargets::joint(batch.pictures.len(), &batch.image_of_text, &Device::Cpu)?;
        let parts = Cell::new((0f32, 0f32));
        let loss = |embeddings: &[Tensor]| -> Result<Tensor> {
            let [images, texts] = embeddings else {
                let found = embeddings.len().to_string();
                return Err(TrainingError::argument("fine-tuning", "two kinds of embeddings", found));
            };
            let scale = self.network.logit_scale();
            let result = contrastive(images, texts, scale, &targets, &ContrastiveObjective::default())?;
            parts.set((result.image_to_text.to_scalar()?, result.text_to_image.to_scalar()?));
            Ok(result.loss)
        };
        // What is frozen has no gradient to be pushed through it: one chunk.
        let chunk = |trained: bool, size: usize| if trained { size } else { 0 };
        let image_chunks = chunks(batch.pictures.len(), chunk(images.is_trained(), settings.image_chunk));
        let text_chunks =
            chunks(batch.texts.len(), chunk(self.config.model.trains_texts(), settings.text_chunk));
        let mut encoders = [
            ChunkedEncoder {
                chunks: image_chunks.len(),
                embed: Box::new(|chunk| images.embed(image_chunks[chunk].clone())),
            },
            ChunkedEncoder {
                chunks: text_chunks.len(),
                embed: Box::new(|chunk| texts.embed(text_chunks[chunk].clone())),
            },
        ];
        let (loss, gradients) = cached_gradients(&mut encoders, loss, parameters, step)?;
        let (image_to_text, text_to_image) = parts.get();
        let losses = Losses {
            loss: f64::from(loss),
            image_to_text: f64::from(image_to_text),
            text_to_image: f64::from(text_to_image),
        };
        Ok((losses, gradients))
    }

    /// Measures the weights as they are now on the validation split.
    pub(super) fn measure(&self, progress: &mut dyn Progress) -> Result<RetrievalMeasurement> {
        let pictures = self.corpus.validation();
        let texts: Vec<usize> =
            pictures.iter().flat_map(|picture| picture.captions.iter().copied()).collect();
        let frozen = self.frozen_pictures.as_ref();
        let encoded = if frozen.is_some() { 0 } else { pictures.len() };
        progress.begin("measuring", (encoded + texts.len()) as u64);
        let images = match frozen {
            Some(all) => all.select(&(self.corpus.training_pictures..all.rows()).collect::<Vec<_>>())?,
            None => {
                let encoder = self.network.image_encoder()?;
                let mut images = Embeddings::new(self.network.embed_dim());
                for chunk in pictures.chunks(PICTURES) {
                    append(&mut images, &encoder.encode(&self.prepared(chunk)?)?.detach())?;
                    progress.advance(images.rows() as u64);
                }
                images
            }
        };
        let encoder = self.network.text_encoder()?;
        let mut captions = Embeddings::new(self.network.embed_dim());
        for chunk in texts.chunks(TEXTS) {
            append(&mut captions, &self.encode(&encoder, chunk)?.detach())?;
            progress.advance((encoded + captions.rows()) as u64);
        }
        progress.end();
        RetrievalMeasurement::of(&self.corpus, images, captions)
    }

    /// `[pictures, height, width, 3]`, as the image tower takes them.
    fn prepared(&self, pictures: &[ImageTexts]) -> Result<Tensor> {
        let decoded =
            pictures.par_iter().map(|picture| decode_image(&picture.path)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.retriever.preprocessor().batch(&decoded)?)
    }

    fn encode(&self, encoder: &TextEncoder, texts: &[usize]) -> Result<Tensor> {
        let texts: Vec<&str> = texts.iter().map(|&text| self.corpus.texts[text].as_str()).collect();
        Ok(encoder.encode(&self.retriever.tokenizer()?.encode_batch(&texts)?)?)
    }
}

/// The pictures of a batch: embedded already, or decoded and on their way through the tower.
enum ImageBatch {
    Embedded(Tensor),
    Prepared(Box<ImageEncoder>, Tensor),
}

impl ImageBatch {
    fn prepare(bench: &Workbench<'_>, batch: &PairBatch) -> Result<Self> {
        match &bench.frozen_pictures {
            Some(all) => {
                let rows = all.select(&batch.pictures)?;
                let shape = (rows.rows(), rows.dim());
                Ok(Self::Embedded(Tensor::from_slice(rows.as_slice(), shape, &Device::Cpu)?))
            }
            None => {
                let pictures: Vec<ImageTexts> =
                    batch.pictures.iter().map(|&picture| bench.corpus.pictures[picture].clone()).collect();
                Ok(Self::Prepared(Box::new(bench.network.image_encoder()?), bench.prepared(&pictures)?))
            }
        }
    }

    fn is_trained(&self) -> bool {
        matches!(self, Self::Prepared(..))
    }

    fn embed(&self, rows: Range<usize>) -> Result<Tensor> {
        match self {
            Self::Embedded(embeddings) => Ok(embeddings.narrow(0, rows.start, rows.len())?.contiguous()?),
            Self::Prepared(encoder, pictures) => {
                Ok(encoder.encode(&pictures.narrow(0, rows.start, rows.len())?.contiguous()?)?)
            }
        }
    }
}

/// The texts of a batch and what embeds them.
struct TextBatch<'a> {
    bench: &'a Workbench<'a>,
    encoder: TextEncoder,
    texts: Vec<usize>,
}

impl<'a> TextBatch<'a> {
    fn prepare(bench: &'a Workbench<'_>, batch: &PairBatch) -> Result<Self> {
        Ok(Self { bench, encoder: bench.network.text_encoder()?, texts: batch.texts.clone() })
    }

    fn embed(&self, rows: Range<usize>) -> Result<Tensor> {
        self.bench.encode(&self.encoder, self.texts.get(rows).unwrap_or_default())
    }
}

/// The pairs of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PairBatch {
    /// Positions of the training pictures, each once.
    pub(super) pictures: Vec<usize>,
    /// Positions of the texts.
    pub(super) texts: Vec<usize>,
    /// The row in `pictures` of each text's picture.
    pub(super) image_of_text: Vec<u32>,
}

/// How a run walks through the captions: an epoch shows each once, in rounds of one caption a picture, so that a batch
/// has two captions of a picture at most where rounds meet.
#[derive(Debug, Clone, Copy)]
pub(super) struct PairPlan<'a> {
    pictures: &'a [ImageTexts],
    data: &'a DataConfig,
    pairs: usize,
    batch_size: usize,
    total_steps: u64,
    seed: u64,
}

impl<'a> PairPlan<'a> {
    pub(super) fn new(
        pictures: &'a [ImageTexts],
        data: &'a DataConfig,
        settings: &FineTuneOptimization,
        seed: u64,
    ) -> Self {
        let pairs: usize = pictures.iter().map(|picture| picture.captions.len()).sum();
        let batch_size = settings.batch_size.min(pairs).max(1);
        let all = (pairs / batch_size) as u64 * settings.epochs;
        let total_steps = if settings.max_steps == 0 { all } else { all.min(settings.max_steps) };
        Self { pictures, data, pairs, batch_size, total_steps, seed }
    }

    /// Updates of an epoch; what does not fill a batch waits for the next epoch's shuffle.
    pub(super) fn steps_per_epoch(&self) -> u64 {
        (self.pairs / self.batch_size) as u64
    }

    /// Updates of the run.
    pub(super) fn total_steps(&self) -> u64 {
        self.total_steps
    }

    /// The pairs of an update, counted from 0.
    pub(super) fn batch(&self, update: u64) -> PairBatch {
        let per_epoch = self.steps_per_epoch().max(1);
        let pairs = self.order(update / per_epoch);
        let start = (update % per_epoch) as usize * self.batch_size;
        let mut random = random::stream(self.seed, "texts of pairs", update);
        let mut batch = PairBatch::default();
        for &(picture, caption) in pairs.iter().skip(start).take(self.batch_size) {
            let found = batch.pictures.iter().position(|&known| known == picture);
            let row = found.unwrap_or_else(|| {
                batch.pictures.push(picture);
                batch.pictures.len() - 1
            });
            let picture = &self.pictures[picture];
            let rewrites = picture.rewrites.get(caption).map_or(&[][..], Vec::as_slice);
            let text = one_of(&picture.extra_captions, self.data.extra_caption_probability, &mut random)
                .or_else(|| one_of(rewrites, self.data.rewriting_probability, &mut random))
                .unwrap_or(picture.captions[caption]);
            batch.texts.push(text);
            batch.image_of_text.push(row as u32);
        }
        batch
    }

    /// (picture, number of its caption) of a whole epoch.
    fn order(&self, epoch: u64) -> Vec<(usize, usize)> {
        let mut random = random::stream(self.seed, "order of pairs", epoch);
        let rounds = self.pictures.iter().map(|picture| picture.captions.len()).max().unwrap_or(0);
        let captions: Vec<Vec<usize>> = self
            .pictures
            .iter()
            .map(|picture| {
                let mut captions: Vec<usize> = (0..picture.captions.len()).collect();
                captions.shuffle(&mut random);
                captions
            })
            .collect();
        let mut order = Vec::with_capacity(self.pairs);
        for round in 0..rounds {
            let start = order.len();
            let of_round = captions.iter().enumerate();
            order.extend(of_round.filter_map(|(picture, captions)| Some((picture, *captions.get(round)?))));
            order[start..].shuffle(&mut random);
        }
        order
    }
}
