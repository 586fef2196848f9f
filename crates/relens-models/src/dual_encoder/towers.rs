//! The towers that a dual encoder can be made of.

use std::path::Path;

use candle_core::Tensor;

use super::config::VisionConfig;
use crate::bert::{BertConfig, BertModel};
use crate::efficientnet::{EfficientNet, EfficientNetConfig};
use crate::error::Result;
use crate::ops::mean_pool;
use crate::tokenizer::TokenBatch;
use crate::weights::Parameters;

/// From prepared pictures to one feature vector each.
pub trait ImageTower: Send + Sync {
    /// Pooled features.
    ///
    /// # Shapes
    /// - `images`: `[images, height, width, 3]`
    /// - result: `[images, width()]`
    ///
    /// # Errors
    /// The shape does not fit.
    fn features(&self, images: &Tensor) -> Result<Tensor>;

    /// How many features a picture has.
    fn width(&self) -> usize;
}

/// From tokens to one feature vector a text.
pub trait TextTower: Send + Sync {
    /// Pooled features.
    ///
    /// # Shapes
    /// - result: `[texts, width()]`
    ///
    /// # Errors
    /// A token is outside the vocabulary, or a text is longer than the tower's positions.
    fn features(&self, tokens: &TokenBatch) -> Result<Tensor>;

    /// How many features a text has.
    fn width(&self) -> usize;
}

/// Builds the image trunk that a configuration names.
///
/// # Errors
/// The name is unknown; a tensor is missing, of another shape or not finite.
pub fn load_image_tower(parameters: &Parameters, config: &VisionConfig) -> Result<Box<dyn ImageTower>> {
    let config = EfficientNetConfig::from_timm_name(&config.timm_model_name)?;
    Ok(Box::new(EfficientNet::new(config, parameters)?))
}

/// Builds the text transformer that a Hugging Face `config.json` describes.
///
/// # Errors
/// The file is missing or describes another architecture; a tensor is missing, of another shape or not finite.
pub fn load_text_tower(parameters: &Parameters, config: &Path) -> Result<Box<dyn TextTower>> {
    let config = BertConfig::open(config)?;
    Ok(Box::new(MeanPooledBert { model: BertModel::load(parameters, &config)?, width: config.hidden_size }))
}

impl ImageTower for EfficientNet {
    fn features(&self, images: &Tensor) -> Result<Tensor> {
        self.pooled(images)
    }

    fn width(&self) -> usize {
        self.feature_size()
    }
}

/// A BERT whose token vectors are averaged, open_clip's `mean_pooler`.
struct MeanPooledBert {
    model: BertModel,
    width: usize,
}

impl TextTower for MeanPooledBert {
    fn features(&self, tokens: &TokenBatch) -> Result<Tensor> {
        mean_pool(&self.model.forward(tokens)?, &tokens.offsets)
    }

    fn width(&self) -> usize {
        self.width
    }
}
