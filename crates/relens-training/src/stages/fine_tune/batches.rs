//! Which pairs of a picture and a text make a step; every batch is a function of the seed and its number.

use rand::seq::SliceRandom;

use super::config::FineTuneOptimization;
use crate::random;
use crate::stages::retriever::batches::one_of;
use crate::stages::retriever::config::DataConfig;
use crate::stages::retriever::corpus::ImageTexts;

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
