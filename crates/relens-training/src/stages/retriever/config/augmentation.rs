//! Settings of views, features and loss: what stands between 30,000 captions and over-fitting.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::in_range;
use crate::Result;
use crate::objectives::{ContrastiveObjective, PositiveReduction};

/// Views of each training picture and text that go through the frozen towers once, and are then cached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ViewConfig {
    /// Seed of crops, jitter and dropped words; apart from the run's, so that runs of several seeds share a cache.
    /// Default 0.
    pub seed: u64,
    /// Add the horizontally flipped picture. Default true.
    pub flip: bool,
    /// Number of random resized crops, every other one flipped. Default 2; each costs a pass over all pictures.
    pub crops: usize,
    /// Smallest area of a crop, as a share of the picture's. Default 0.4, range (0, 1].
    pub crop_area: f64,
    /// Largest change of aspect ratio by a crop. Default 1.33, range [1, 4]. Source: torchvision's
    /// `RandomResizedCrop`.
    pub crop_aspect: f64,
    /// Brightness, contrast and saturation of a crop vary by up to this share. Default 0.2, range [0, 1].
    pub color_jitter: f64,
    /// Number of versions of each text with words left out. Default 0. Only for phases with cached text features; a
    /// live tower drops words anew each time.
    pub word_dropout_views: usize,
    /// Chance of a word to be left out, in cached versions and by a live tower. Default 0.1, range [0, 1).
    pub word_dropout: f64,
}

impl Default for ViewConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            flip: true,
            crops: 2,
            crop_area: 0.4,
            crop_aspect: 4.0 / 3.0,
            color_jitter: 0.2,
            word_dropout_views: 0,
            word_dropout: 0.1,
        }
    }
}

impl ViewConfig {
    pub(super) fn check(&self) -> Result<()> {
        in_range("views.crop_area", self.crop_area, 0.01, 1.0)?;
        in_range("views.crop_aspect", self.crop_aspect, 1.0, 4.0)?;
        in_range("views.color_jitter", self.color_jitter, 0.0, 1.0)?;
        in_range("views.word_dropout", self.word_dropout, 0.0, 0.99)
    }
}

/// How cached features are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeaturePrecision {
    /// Half precision: half the disk and memory, a relative error of 0.05 %.
    #[default]
    F16,
    /// Single precision.
    F32,
}

/// The feature cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Where features are kept, under names made of all that decides them. Default `runs/feature-cache`.
    pub directory: PathBuf,
    /// Number format. Default `f16`.
    pub precision: FeaturePrecision,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { directory: PathBuf::from("runs/feature-cache"), precision: FeaturePrecision::F16 }
    }
}

/// What happens to features on their way to the heads, anew at every step. Units are standard deviations where
/// features are standardised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentationConfig {
    /// Captions of a picture in a step, as joint positives. Default 0: all of them.
    pub captions_per_image: usize,
    /// Dropout of image features. Default 0.3, range [0, 1).
    pub image_dropout: f64,
    /// Dropout of text features. Default 0.1, range [0, 1).
    pub text_dropout: f64,
    /// Deviation of Gaussian noise added to cached image features. Default 0, range [0, 10].
    pub image_noise: f64,
    /// Deviation of Gaussian noise added to cached text features. Default 0, range [0, 10].
    pub text_noise: f64,
    /// Use a random convex mix of two views of a picture in place of one view. Default false.
    pub view_mixing: bool,
    /// Mirror what a live image trunk reads, every other time: close to a mirrored picture, at no cost. Default true.
    pub feature_map_flip: bool,
    /// Mix a caption's features with another caption's of the same picture, by a share up to this. Default 0,
    /// range [0, 1].
    pub caption_mixing: f64,
}

impl Default for AugmentationConfig {
    fn default() -> Self {
        Self {
            captions_per_image: 0,
            image_dropout: 0.3,
            text_dropout: 0.1,
            image_noise: 0.0,
            text_noise: 0.0,
            view_mixing: false,
            feature_map_flip: true,
            caption_mixing: 0.0,
        }
    }
}

impl AugmentationConfig {
    pub(super) fn check(&self) -> Result<()> {
        in_range("augmentation.image_dropout", self.image_dropout, 0.0, 0.99)?;
        in_range("augmentation.text_dropout", self.text_dropout, 0.0, 0.99)?;
        in_range("augmentation.image_noise", self.image_noise, 0.0, 10.0)?;
        in_range("augmentation.text_noise", self.text_noise, 0.0, 10.0)?;
        in_range("augmentation.caption_mixing", self.caption_mixing, 0.0, 1.0)
    }
}

/// The loss; see [`crate::objectives::contrastive()`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveConfig {
    /// ε of label smoothing. Default 0, range [0, 1).
    pub label_smoothing: f64,
    /// How several captions of a picture count: `mean` (each must rank high) or `log-sum-exp` (one suffices).
    /// Default `mean`.
    pub positive_reduction: PositiveReduction,
    /// β of hard-negative weights. Default 0 (all alike), range [0, 100]. Source: Robinson et al. 2021.
    pub hard_negative_beta: f64,
    /// Weight of the max-of-hinges triplet term. Default 0, range [0, 100]. Source: VSE++.
    pub triplet_weight: f64,
    /// Its margin in cosine. Default 0.2, range [0, 2].
    pub triplet_margin: f64,
    /// Share of the target that goes to pictures with similar captions. Default 0, range [0, 1].
    pub caption_similarity_weight: f64,
    /// Factor on caption similarities before the softmax, 1/temperature. Default 10, range [0, 1000].
    pub caption_similarity_scale: f64,
    /// Teachers to distil from.
    pub teacher: TeacherConfig,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self {
            label_smoothing: 0.0,
            positive_reduction: PositiveReduction::Mean,
            hard_negative_beta: 0.0,
            triplet_weight: 0.0,
            triplet_margin: 0.2,
            caption_similarity_weight: 0.0,
            caption_similarity_scale: 10.0,
            teacher: TeacherConfig::default(),
        }
    }
}

/// An ensemble whose mean similarities are soft targets (Hinton et al. 2015; born-again networks, Furlanello et al.
/// 2018).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TeacherConfig {
    /// Finished models, or run directories with a `model/` inside. Default none.
    pub models: Vec<PathBuf>,
    /// Captions that the teachers read in place of the training captions: annotations of the same pictures, by file name,
    /// in the teachers' language. A picture's k-th text takes its k-th caption there, beginning anew where there are
    /// fewer. Default none.
    pub captions: Option<PathBuf>,
    /// Share of the target that comes from the teachers. Default 0, range [0, 1]; 0.5 to 0.8 is usual.
    pub weight: f64,
    /// Factor on the teachers' mean cosine before the softmax. Default 0: the mean of their own `exp(logit_scale)`.
    pub scale: f64,
}

impl ObjectiveConfig {
    pub(super) fn check(&self) -> Result<()> {
        in_range("objective.label_smoothing", self.label_smoothing, 0.0, 0.99)?;
        in_range("objective.hard_negative_beta", self.hard_negative_beta, 0.0, 100.0)?;
        in_range("objective.triplet_weight", self.triplet_weight, 0.0, 100.0)?;
        in_range("objective.triplet_margin", self.triplet_margin, 0.0, 2.0)?;
        in_range("objective.caption_similarity_weight", self.caption_similarity_weight, 0.0, 1.0)?;
        in_range("objective.caption_similarity_scale", self.caption_similarity_scale, 0.0, 1000.0)?;
        in_range("objective.teacher.weight", self.teacher.weight, 0.0, 1.0)?;
        in_range("objective.teacher.scale", self.teacher.scale, 0.0, 1000.0)?;
        if self.teacher.weight > 0.0 && self.teacher.models.is_empty() {
            let expected = "at least one model where `objective.teacher.weight` is above 0";
            return Err(crate::TrainingError::setting("objective.teacher.models", expected, &"none"));
        }
        Ok(())
    }

    /// The settings that the pure loss takes.
    pub(crate) fn contrastive(&self) -> ContrastiveObjective {
        ContrastiveObjective {
            label_smoothing: self.label_smoothing,
            positive_reduction: self.positive_reduction,
            hard_negative_beta: self.hard_negative_beta,
            triplet_weight: self.triplet_weight,
            triplet_margin: self.triplet_margin,
        }
    }
}
