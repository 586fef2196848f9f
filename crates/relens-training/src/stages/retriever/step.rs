//! One batch: embeddings, loss, gradients.

use std::cell::Cell;
use std::ops::Range;

use candle_core::{Device, Tensor};

use super::batches::{Batch, dropout_mask, image_inputs, text_inputs};
use super::config::{PhaseConfig, RetrieverConfig};
use super::network::Network;
use super::training_data::TrainingData;
use super::views::drop_words;
use crate::objectives::{ContrastiveLoss, ContrastiveTargets, caption_similarity_targets, contrastive};
use crate::optimizer::{Gradients, NamedParameter};
use crate::run::gradient_cache::{ChunkedEncoder, cached_gradients, chunks};
use crate::{Result, random};

/// What a phase computes its batches with.
#[derive(Clone, Copy)]
pub(super) struct StepContext<'a> {
    pub(super) config: &'a RetrieverConfig,
    pub(super) data: &'a TrainingData,
    pub(super) network: &'a Network,
    pub(super) phase: &'a PhaseConfig,
    /// Whether the end of the image trunk is no longer what the cached features were made with.
    pub(super) image_live: bool,
    /// Whether the text tower is no longer what the cached features were made with.
    pub(super) text_live: bool,
}

/// The losses of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct LossReport {
    pub(super) loss: f64,
    pub(super) image_to_text: f64,
    pub(super) text_to_image: f64,
}

impl LossReport {
    /// Adds another batch's losses, weighted.
    pub(super) fn add(&mut self, other: Self, weight: f64) {
        self.loss += weight * other.loss;
        self.image_to_text += weight * other.image_to_text;
        self.text_to_image += weight * other.text_to_image;
    }
}

impl StepContext<'_> {
    /// The loss of a batch and its gradients.
    ///
    /// # Errors
    /// A loss that is not finite, with the step; a parameter that takes no part in it.
    pub(super) fn gradients(
        &self,
        batch: &Batch,
        parameters: &[NamedParameter],
        step: u64,
    ) -> Result<(LossReport, Gradients)> {
        let targets = self.targets(batch)?;
        let parts = Cell::new((0f32, 0f32));
        let loss = |embeddings: &[Tensor]| -> Result<Tensor> {
            let [images, texts] = embeddings else {
                let found = embeddings.len().to_string();
                return Err(crate::TrainingError::argument("StepContext", "two kinds of embeddings", found));
            };
            let result = self.loss(images, texts, &targets)?;
            parts.set((result.image_to_text.to_scalar()?, result.text_to_image.to_scalar()?));
            Ok(result.loss)
        };
        let mut encoders = [
            ChunkedEncoder {
                chunks: self.image_chunks(batch).len(),
                embed: Box::new(|chunk| self.embed_images(batch, chunk)),
            },
            ChunkedEncoder {
                chunks: self.text_chunks(batch).len(),
                embed: Box::new(|chunk| self.embed_texts(batch, chunk)),
            },
        ];
        let (loss, gradients) = cached_gradients(&mut encoders, loss, parameters, step)?;
        let (image_to_text, text_to_image) = parts.get();
        let report = LossReport {
            loss: f64::from(loss),
            image_to_text: f64::from(image_to_text),
            text_to_image: f64::from(text_to_image),
        };
        Ok((report, gradients))
    }

    fn loss(&self, images: &Tensor, texts: &Tensor, targets: &ContrastiveTargets) -> Result<ContrastiveLoss> {
        let objective = self.config.objective.contrastive();
        contrastive(images, texts, self.network.logit_scale(), targets, &objective)
    }

    /// Joint positives, softened by captions and teachers as configured.
    fn targets(&self, batch: &Batch) -> Result<ContrastiveTargets> {
        let objective = &self.config.objective;
        let mut targets =
            ContrastiveTargets::joint(batch.pictures.len(), &batch.image_of_text, &Device::Cpu)?;
        if let Some(means) = &self.data.caption_means {
            let rows: Vec<u32> = batch.pictures.iter().map(|&picture| picture as u32).collect();
            let means = means.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
            let similarities = caption_similarity_targets(&means, &batch.image_of_text)?;
            targets = targets.mixed_with(
                &similarities,
                objective.caption_similarity_scale,
                objective.caption_similarity_weight,
            )?;
        }
        if let Some(teachers) = &self.data.teachers {
            targets = targets.mixed_with(&teachers.similarities(batch)?, teachers.scale, teachers.weight)?;
        }
        Ok(targets)
    }

    fn image_chunks(&self, batch: &Batch) -> Vec<Range<usize>> {
        let chunk = if self.image_live { self.phase.image_chunk } else { 0 };
        chunks(batch.pictures.len(), chunk)
    }

    fn text_chunks(&self, batch: &Batch) -> Vec<Range<usize>> {
        let chunk = if self.text_live { self.phase.text_chunk } else { 0 };
        chunks(batch.texts.len(), chunk)
    }

    fn embed_images(&self, batch: &Batch, chunk: usize) -> Result<Tensor> {
        let (config, augmentation) = (self.config, &self.config.augmentation);
        let Some(maps) = self.data.feature_maps.as_ref().filter(|_| self.image_live) else {
            let standardization = self.network.image_standardization();
            let views = &self.data.image_views;
            let features = image_inputs(batch, views, standardization, augmentation, config.seed)?;
            return self.network.embed_image_features(&features);
        };
        let range = self.image_chunks(batch).get(chunk).cloned().unwrap_or_default();
        let drawn = maps.draw(batch, range, augmentation.feature_map_flip, config.seed)?;
        let features = self.network.image_features(&drawn, maps.block)?;
        let purpose = format!("image features chunk {chunk}");
        let dropped = self.drop_out(features, augmentation.image_dropout, &purpose, batch)?;
        self.network.embed_image_features(&dropped)
    }

    fn drop_out(&self, features: Tensor, probability: f64, purpose: &str, batch: &Batch) -> Result<Tensor> {
        if probability == 0.0 {
            return Ok(features);
        }
        let (rows, width) = features.dims2()?;
        let mut rng = random::stream(self.config.seed, purpose, batch.draw);
        Ok((features * dropout_mask(rows, width, probability, &mut rng)?)?)
    }

    fn embed_texts(&self, batch: &Batch, chunk: usize) -> Result<Tensor> {
        let (config, augmentation) = (self.config, &self.config.augmentation);
        if !self.text_live {
            let standardization = &self.data.text_standardization;
            let versions = &self.data.text_versions;
            let features = text_inputs(batch, versions, standardization, augmentation, config.seed)?;
            return self.network.embed_text_features(&features);
        }
        let range = self.text_chunks(batch).get(chunk).cloned().unwrap_or_default();
        let texts: Vec<String> = range
            .map(|index| {
                let mut rng = random::stream(config.seed, &format!("live words {index}"), batch.draw);
                let text = &self.data.corpus.texts[batch.texts[index]];
                drop_words(text, config.views.word_dropout, &mut rng)
            })
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokens = self.data.tokenizer.encode_batch(&texts)?;
        let mut rng = random::stream(config.seed, &format!("text tower chunk {chunk}"), batch.draw);
        let dropout = self.phase.text_tower_dropout.then_some(&mut rng);
        let features = self.network.text_features(&tokens, dropout)?;
        let purpose = format!("text features chunk {chunk}");
        let dropped = self.drop_out(features, augmentation.text_dropout, &purpose, batch)?;
        self.network.embed_text_features(&dropped)
    }
}
