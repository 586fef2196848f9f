//! Which pictures and captions make a step, and what their cached features look like in it.

use candle_core::{Device, Tensor};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::config::{AugmentationConfig, DataConfig, PhaseConfig};
use super::corpus::ImageTexts;
use super::feature_cache::FeatureRows;
use super::standardization::Standardization;
use crate::{Result, random};

/// The pictures and texts of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// Positions of the training pictures.
    pub(super) pictures: Vec<usize>,
    /// Positions of the texts, those of a picture next to each other.
    pub(super) texts: Vec<usize>,
    /// The row in `pictures` of each text's picture.
    pub(super) image_of_text: Vec<u32>,
    /// Number of the batch in the run: where its random streams begin.
    pub(super) draw: u64,
}

/// How a phase walks through the training pictures; every batch is a function of the seed and its number.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchPlan {
    pictures: usize,
    batch_size: usize,
    accumulate: u64,
    epochs: u64,
    seed: u64,
    /// Number of the phase, so that phases do not repeat each other's order.
    phase: u64,
}

impl BatchPlan {
    pub(super) fn new(pictures: usize, phase: &PhaseConfig, phase_index: usize, seed: u64) -> Self {
        Self {
            pictures,
            batch_size: phase.batch_size.min(pictures),
            accumulate: phase.accumulate,
            epochs: phase.epochs,
            seed,
            phase: phase_index as u64,
        }
    }

    /// Updates in one pass over the pictures; what does not fill a batch waits for the next pass's shuffle.
    pub(super) fn steps_per_epoch(&self) -> u64 {
        let batches = (self.pictures / self.batch_size.max(1)) as u64;
        (batches / self.accumulate).max(1)
    }

    /// Updates in the whole phase.
    pub(super) fn total_steps(&self) -> u64 {
        self.steps_per_epoch() * self.epochs
    }

    /// The pictures of each micro-batch of an update, counted from 0 in the phase.
    pub(super) fn pictures(&self, update: u64) -> Vec<Vec<usize>> {
        let epoch = update / self.steps_per_epoch();
        let mut order: Vec<usize> = (0..self.pictures).collect();
        order.shuffle(&mut random::stream(self.seed, &format!("order of phase {}", self.phase), epoch));
        let first = (update % self.steps_per_epoch()) * self.accumulate;
        (0..self.accumulate)
            .map(|micro| {
                let start = ((first + micro) as usize * self.batch_size) % self.pictures.max(1);
                order.iter().cycle().skip(start).take(self.batch_size).copied().collect()
            })
            .collect()
    }
}

/// Draws captions for pictures.
pub(super) fn draw_batch(
    pictures: Vec<usize>,
    all: &[ImageTexts],
    augmentation: &AugmentationConfig,
    data: &DataConfig,
    seed: u64,
    draw: u64,
) -> Batch {
    let mut rng = random::stream(seed, "captions", draw);
    let mut batch = Batch { pictures, texts: Vec::new(), image_of_text: Vec::new(), draw };
    for (row, &picture) in batch.pictures.iter().enumerate() {
        let picture = &all[picture];
        let mut captions: Vec<usize> = (0..picture.captions.len()).collect();
        captions.shuffle(&mut rng);
        if augmentation.captions_per_image > 0 {
            captions.truncate(augmentation.captions_per_image);
        }
        for caption in captions {
            let rewrites = picture.rewrites.get(caption).map_or(&[][..], Vec::as_slice);
            let text = one_of(&picture.extra_captions, data.extra_caption_probability, &mut rng)
                .or_else(|| one_of(rewrites, data.rewriting_probability, &mut rng))
                .unwrap_or(picture.captions[caption]);
            batch.texts.push(text);
            batch.image_of_text.push(row as u32);
        }
    }
    batch
}

/// With a chance, one of `texts`. Where there is no choice no randomness is used up.
pub(in crate::stages) fn one_of(texts: &[usize], probability: f64, rng: &mut ChaCha8Rng) -> Option<usize> {
    let drawn = !texts.is_empty() && rng.random::<f64>() < probability;
    drawn.then(|| texts[rng.random_range(0..texts.len())])
}

/// Cached image features of a batch, augmented: `[pictures, width]`.
pub(super) fn image_inputs(
    batch: &Batch,
    views: &[FeatureRows],
    standardization: &Standardization,
    augmentation: &AugmentationConfig,
    seed: u64,
) -> Result<Tensor> {
    let width = standardization.mean.len();
    let mut values = vec![0f32; batch.pictures.len() * width];
    values.par_chunks_mut(width).zip(&batch.pictures).for_each(|(row, &picture)| {
        let mut rng = random::stream(seed, &format!("image {picture}"), batch.draw);
        views[rng.random_range(0..views.len())].read(picture, row);
        if augmentation.view_mixing && views.len() > 1 {
            let mut other = vec![0f32; width];
            views[rng.random_range(0..views.len())].read(picture, &mut other);
            mix(row, &other, rng.random());
        }
        standardization.apply(row);
        perturb(row, augmentation.image_noise, augmentation.image_dropout, &mut rng);
    });
    Ok(Tensor::from_vec(values, (batch.pictures.len(), width), &Device::Cpu)?)
}

/// Cached text features of a batch, augmented: `[texts, width]`. `versions` holds the texts themselves first, then
/// those with words left out.
pub(super) fn text_inputs(
    batch: &Batch,
    versions: &[FeatureRows],
    standardization: &Standardization,
    augmentation: &AugmentationConfig,
    seed: u64,
) -> Result<Tensor> {
    let width = standardization.mean.len();
    let mut values = vec![0f32; batch.texts.len() * width];
    values.par_chunks_mut(width).enumerate().for_each(|(index, row)| {
        let mut rng = random::stream(seed, &format!("text {index}"), batch.draw);
        versions[rng.random_range(0..versions.len())].read(batch.texts[index], row);
        if augmentation.caption_mixing > 0.0 {
            let mut other = vec![0f32; width];
            let partner = sibling(batch, index, &mut rng);
            versions[rng.random_range(0..versions.len())].read(batch.texts[partner], &mut other);
            mix(row, &other, augmentation.caption_mixing as f32 * rng.random::<f32>());
        }
        standardization.apply(row);
        perturb(row, augmentation.text_noise, augmentation.text_dropout, &mut rng);
    });
    Ok(Tensor::from_vec(values, (batch.texts.len(), width), &Device::Cpu)?)
}

/// Dropout for features that carry a graph: 0 or 1 / (1 − p), `[rows, width]`.
pub(super) fn dropout_mask(
    rows: usize,
    width: usize,
    probability: f64,
    rng: &mut ChaCha8Rng,
) -> Result<Tensor> {
    let mut values = vec![1f32; rows * width];
    drop_out(&mut values, probability, rng);
    Ok(Tensor::from_vec(values, (rows, width), &Device::Cpu)?)
}

/// A random text of the same picture, perhaps the same text.
fn sibling(batch: &Batch, index: usize, rng: &mut ChaCha8Rng) -> usize {
    let picture = batch.image_of_text[index];
    let start = batch.image_of_text.partition_point(|&other| other < picture);
    let end = batch.image_of_text.partition_point(|&other| other <= picture);
    rng.random_range(start..end)
}

fn mix(row: &mut [f32], other: &[f32], share: f32) {
    row.iter_mut().zip(other).for_each(|(value, other)| *value += share * (other - *value));
}

fn perturb(row: &mut [f32], noise: f64, dropout: f64, rng: &mut ChaCha8Rng) {
    if noise > 0.0 {
        let mut normal = vec![0f32; row.len()];
        random::fill_normal(&mut normal, rng);
        row.iter_mut().zip(normal).for_each(|(value, normal)| *value += noise as f32 * normal);
    }
    drop_out(row, dropout, rng);
}

fn drop_out(values: &mut [f32], probability: f64, rng: &mut ChaCha8Rng) {
    if probability > 0.0 {
        let keep = (1.0 / (1.0 - probability)) as f32;
        let threshold = (probability * f64::from(u32::MAX)) as u32;
        for value in values {
            *value = if rng.random::<u32>() < threshold { 0.0 } else { *value * keep };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn pictures() -> Vec<ImageTexts> {
        (0..10)
            .map(|index| ImageTexts {
                path: PathBuf::from(format!("{index}.jpg")),
                captions: (index * 3..index * 3 + 3).collect(),
                extra_captions: vec![100 + index],
                rewrites: vec![Vec::new(), vec![200 + index], Vec::new()],
            })
            .collect()
    }

    fn data(extra_caption_probability: f64) -> DataConfig {
        DataConfig {
            annotations: PathBuf::new(),
            images: PathBuf::new(),
            train_split: "train".into(),
            validation_split: "val".into(),
            extra_captions: Vec::new(),
            extra_caption_probability,
            rewrites: Vec::new(),
            rewriting_probability: 0.0,
        }
    }

    #[test]
    fn an_epoch_visits_every_picture_once_and_the_next_in_another_order() {
        let phase = PhaseConfig { batch_size: 5, epochs: 2, ..PhaseConfig::default() };
        let plan = BatchPlan::new(10, &phase, 0, 1);
        assert_eq!((plan.steps_per_epoch(), plan.total_steps()), (2, 4));
        let epoch = |first: u64| [plan.pictures(first), plan.pictures(first + 1)].concat().concat();
        let mut sorted = epoch(0);
        assert_ne!(epoch(0), epoch(2));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        assert_eq!(plan.pictures(3), plan.pictures(3));
    }

    #[test]
    fn micro_batches_of_an_update_share_no_picture() {
        let phase = PhaseConfig { batch_size: 2, accumulate: 5, ..PhaseConfig::default() };
        let plan = BatchPlan::new(10, &phase, 0, 1);
        assert_eq!(plan.steps_per_epoch(), 1);
        let mut all = plan.pictures(0).concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn captions_belong_to_their_pictures() {
        let augmentation = AugmentationConfig { captions_per_image: 2, ..AugmentationConfig::default() };
        let batch = draw_batch(vec![4, 7], &pictures(), &augmentation, &data(0.0), 1, 0);
        assert_eq!(batch.image_of_text, [0, 0, 1, 1]);
        assert!(batch.texts[..2].iter().all(|text| (12..15).contains(text)), "{:?}", batch.texts);
        assert!(batch.texts[2..].iter().all(|text| (21..24).contains(text)), "{:?}", batch.texts);
        let extra = draw_batch(vec![4, 7], &pictures(), &augmentation, &data(1.0), 1, 0);
        assert_eq!(extra.texts, [104, 104, 107, 107]);
        let all = AugmentationConfig { captions_per_image: 0, ..augmentation };
        let always = DataConfig { rewriting_probability: 1.0, ..data(0.0) };
        let mut rewritten = draw_batch(vec![4], &pictures(), &all, &always, 1, 0).texts;
        rewritten.sort_unstable();
        assert_eq!(rewritten, [12, 14, 204], "only the caption that has a rewrite is replaced, by its own");
        let never = draw_batch(vec![4], &pictures(), &all, &data(0.0), 1, 0).texts;
        assert!(never.iter().all(|text| (12..15).contains(text)));
    }

    #[test]
    fn features_without_augmentation_are_the_standardised_rows() {
        let rows = FeatureRows::from_f32((0..20).map(|value| value as f32).collect(), 2);
        let standardization = Standardization { mean: vec![1.0, 2.0], deviation: vec![2.0, 4.0] };
        let plain =
            AugmentationConfig { image_dropout: 0.0, text_dropout: 0.0, ..AugmentationConfig::default() };
        let batch = Batch { pictures: vec![3, 0], texts: vec![5], image_of_text: vec![0], draw: 9 };
        let images = image_inputs(&batch, std::slice::from_ref(&rows), &standardization, &plain, 1).unwrap();
        assert_eq!(images.to_vec2::<f32>().unwrap(), [[2.5, 1.25], [-0.5, -0.25]]);
        let texts = text_inputs(&batch, &[rows], &standardization, &plain, 1).unwrap();
        assert_eq!(texts.to_vec2::<f32>().unwrap(), [[4.5, 2.25]]);
    }

    #[test]
    fn dropout_keeps_the_mean() {
        let mask = dropout_mask(100, 100, 0.3, &mut random::stream(1, "test", 0)).unwrap();
        let mean = mask.mean_all().unwrap().to_scalar::<f32>().unwrap();
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
    }
}
