//! Settings of phases and of the measurements between them.

use serde::{Deserialize, Serialize};

use super::in_range;
use crate::objectives::contrastive::MAX_LOGIT_SCALE;
use crate::run::stage::PhaseStart;
use crate::schedule::Decay;
use crate::{Result, TrainingError};

/// Something that a phase may train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainedPart {
    /// `visual.head.*`
    ImageHead,
    /// `text.proj.*`
    TextHead,
    /// The last layers of the text tower.
    TextTower,
    /// The last stages of the image trunk.
    ImageTrunk,
    /// `logit_scale`
    LogitScale,
}

/// One phase: what is trained, how fast, and for how long. Source of the order heads, then towers: LP-FT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PhaseConfig {
    /// A name for the log. Default `train`.
    pub name: String,
    /// What is trained. Default image head, text head and temperature.
    pub train: Vec<TrainedPart>,
    /// What it starts with. Default `best`.
    pub start: PhaseStart,
    /// Passes over the training pictures. Default 20, at least 1.
    pub epochs: u64,
    /// Pictures in a step (each with its captions). Default 512, at least 2. Larger batches have more negatives.
    pub batch_size: usize,
    /// Pictures that go through a live image trunk at once, by the gradient cache; 0 for the whole batch. Default 0.
    pub image_chunk: usize,
    /// Texts that go through a live text tower at once, by the gradient cache; 0 for the whole batch. Default 0.
    pub text_chunk: usize,
    /// Steps whose gradients are averaged into one update. Default 1, at least 1.
    pub accumulate: u64,
    /// Learning rate of the heads after the warm-up. Default 1e-3, range [0, 1].
    pub learning_rate: f64,
    /// Warm-up as a share of the phase. Default 0.1, range [0, 1].
    pub warmup: f64,
    /// What follows the warm-up: `cosine`, `linear` or `constant`. Default `cosine`.
    pub decay: Decay,
    /// Learning rate at the end as a share of the peak. Default 0, range [0, 1].
    pub floor: f64,
    /// Learning rate of the text tower as a share of the heads'. Default 0.1, range [0, 10].
    pub text_tower_rate: f64,
    /// Last layers of the text tower that are trained; 0 for all. Default 0.
    pub text_tower_layers: usize,
    /// Factor on the learning rate from a layer to the one below. Default 1, range (0, 1]. Source: Clark et al. 2020
    /// (ELECTRA).
    pub layer_decay: f64,
    /// Train the text tower's embedding tables too. Default false: rare words would drift.
    pub text_tower_embeddings: bool,
    /// Use the text tower's own dropout. Default true.
    pub text_tower_dropout: bool,
    /// Learning rate of the image trunk as a share of the heads'. Default 0.3, range [0, 10].
    pub image_trunk_rate: f64,
    /// First block of the image trunk that is trained, `STAGE.BLOCK` in timm's numbering. Default `5.2`.
    pub image_trunk_from: String,
    /// Largest global gradient norm; 0 for no limit. Default 5, range [0, 1e6].
    pub clip_norm: f64,
    /// Decay of the moving average of the weights, which is what is measured and exported; 0 for none. Default 0.99,
    /// range [0, 1).
    pub weight_average: f64,
    /// Largest `logit_scale`. Default log 100, range [0, log 100].
    pub max_logit_scale: f64,
}

impl Default for PhaseConfig {
    fn default() -> Self {
        Self {
            name: "train".to_owned(),
            train: vec![TrainedPart::ImageHead, TrainedPart::TextHead, TrainedPart::LogitScale],
            start: PhaseStart::Best,
            epochs: 20,
            batch_size: 512,
            image_chunk: 0,
            text_chunk: 0,
            accumulate: 1,
            learning_rate: 1e-3,
            warmup: 0.1,
            decay: Decay::Cosine,
            floor: 0.0,
            text_tower_rate: 0.1,
            text_tower_layers: 0,
            layer_decay: 1.0,
            text_tower_embeddings: false,
            text_tower_dropout: true,
            image_trunk_rate: 0.3,
            image_trunk_from: "5.2".to_owned(),
            clip_norm: 5.0,
            weight_average: 0.99,
            max_logit_scale: MAX_LOGIT_SCALE,
        }
    }
}

impl PhaseConfig {
    /// Whether the phase trains this part.
    pub fn trains(&self, part: TrainedPart) -> bool {
        self.train.contains(&part)
    }

    pub(super) fn check(&self, index: usize) -> Result<()> {
        let field = |name: &str| format!("phase[{index}].{name}");
        if self.train.is_empty() {
            return Err(TrainingError::setting(field("train"), "at least one part", &"none"));
        }
        in_range(&field("epochs"), self.epochs as f64, 1.0, 1e6)?;
        in_range(&field("batch_size"), self.batch_size as f64, 2.0, 1e6)?;
        in_range(&field("accumulate"), self.accumulate as f64, 1.0, 1e6)?;
        in_range(&field("learning_rate"), self.learning_rate, 0.0, 1.0)?;
        in_range(&field("warmup"), self.warmup, 0.0, 1.0)?;
        in_range(&field("floor"), self.floor, 0.0, 1.0)?;
        in_range(&field("text_tower_rate"), self.text_tower_rate, 0.0, 10.0)?;
        in_range(&field("layer_decay"), self.layer_decay, 1e-3, 1.0)?;
        in_range(&field("image_trunk_rate"), self.image_trunk_rate, 0.0, 10.0)?;
        in_range(&field("clip_norm"), self.clip_norm, 0.0, 1e6)?;
        in_range(&field("weight_average"), self.weight_average, 0.0, 0.999_999)?;
        in_range(&field("max_logit_scale"), self.max_logit_scale, 0.0, MAX_LOGIT_SCALE + 1e-9)?;
        self.first_image_block().map(drop).ok_or_else(|| {
            let expected = "STAGE.BLOCK, for instance 5.2";
            TrainingError::setting(field("image_trunk_from"), expected, &self.image_trunk_from)
        })
    }

    /// `image_trunk_from` as numbers.
    pub(crate) fn first_image_block(&self) -> Option<(usize, usize)> {
        let (stage, block) = self.image_trunk_from.split_once('.')?;
        Some((stage.parse().ok()?, block.parse().ok()?))
    }
}

/// The number that the best checkpoint is chosen by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecallMetric {
    /// Mean of Recall@1 in both directions.
    #[default]
    MeanRecallAt1,
    /// Mean of Recall@1, @5 and @10 in both directions ("rsum / 6"); steadier.
    MeanRecall,
}

/// Measuring on the validation split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Measure and save every so many steps; 0 for once an epoch. Default 0. The end of a phase is always measured.
    pub every_steps: u64,
    /// End a phase after so many measurements without a better one; 0 for never. Default 0.
    pub patience: u64,
    /// What "better" means. Default `mean-recall-at1`.
    pub metric: RecallMetric,
    /// Checkpoints kept besides the best. Default 2, at least 1.
    pub keep_checkpoints: usize,
    /// Sample queries in `samples.jsonl` at each measurement. Default 8.
    pub samples: usize,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            every_steps: 0,
            patience: 0,
            metric: RecallMetric::MeanRecallAt1,
            keep_checkpoints: 2,
            samples: 8,
        }
    }
}
