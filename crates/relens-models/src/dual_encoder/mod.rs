//! A dual encoder: an image tower and a text tower that end in one space.
//!
//! A model is a directory in open_clip's layout:
//!
//! | file | what it holds |
//! | --- | --- |
//! | `open_clip_config.json` | the towers and the preprocessing ([`DualEncoderConfig`]) |
//! | `open_clip_model.safetensors` | `visual.trunk.*`, `visual.head.*`, `text.transformer.*`, `text.proj.*`, `logit_scale` |
//! | `config.json` | the Hugging Face text tower's own configuration |
//! | `tokenizer.json` | the tokenizer |
//!
//! A tower is built when it is first used: a text query never pays for reading the image tower.

mod config;
mod heads;
mod towers;

use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::Tensor;

pub use config::{CONFIG_FILE, DualEncoderConfig, HeadKind, ModelConfig, TextConfig, VisionConfig};
pub use heads::{ImageHead, TextProjection, image_hidden_width, text_hidden_width};
pub use towers::{ImageTower, TextTower, load_image_tower, load_text_tower};

use crate::error::Result;
use crate::ops::l2_normalize;
use crate::tokenizer::TokenBatch;
use crate::weights::{Parameters, Weights};

/// The weights' file name inside a model directory.
pub const WEIGHTS_FILE: &str = "open_clip_model.safetensors";
/// The text tower's configuration inside a model directory.
pub const TEXT_CONFIG_FILE: &str = "config.json";
/// The tokenizer inside a model directory.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// An image tower and a text tower that end in one space.
pub struct DualEncoder {
    directory: PathBuf,
    config: DualEncoderConfig,
    parameters: Parameters,
    logit_scale: f32,
    image: Lazy<ImageEncoder>,
    text: Lazy<TextEncoder>,
}

/// The image side: a trunk and its head.
pub struct ImageEncoder {
    tower: Box<dyn ImageTower>,
    head: ImageHead,
}

/// The text side: a transformer with pooling, and its projection.
pub struct TextEncoder {
    tower: Box<dyn TextTower>,
    projection: TextProjection,
}

impl DualEncoder {
    /// Opens a model directory: reads the configuration and maps the weights.
    ///
    /// # Errors
    /// A file is missing or malformed, or asks for a tower that relens does not have.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        let config = DualEncoderConfig::read(directory)?;
        let weights = Weights::open(directory.join(WEIGHTS_FILE))?;
        Self::new(directory, config, Parameters::frozen(weights))
    }

    /// Builds the model on given parameters, which may be trainable.
    ///
    /// # Errors
    /// `logit_scale` is missing or not a scalar.
    pub fn new(directory: &Path, config: DualEncoderConfig, parameters: Parameters) -> Result<Self> {
        let logit_scale = parameters.weights().tensor("logit_scale", &[])?.to_scalar::<f32>()?;
        let (image, text) = (Lazy::default(), Lazy::default());
        Ok(Self { directory: directory.to_owned(), config, parameters, logit_scale, image, text })
    }

    /// The model directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The configuration.
    pub fn config(&self) -> &DualEncoderConfig {
        &self.config
    }

    /// What the towers are built from.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Dimensions of the shared space.
    pub fn embed_dim(&self) -> usize {
        self.config.model_cfg.embed_dim
    }

    /// The learned temperature: `exp(logit_scale)` multiplies cosines in the training objective.
    pub fn logit_scale(&self) -> f32 {
        self.logit_scale
    }

    /// The image side, built at the first call.
    ///
    /// # Errors
    /// A tensor is missing, of another shape or not finite.
    pub fn image_encoder(&self) -> Result<&ImageEncoder> {
        self.image.get_or_load(|| {
            let (model, place) = (&self.config.model_cfg, self.parameters.pp("visual"));
            let tower = load_image_tower(&place.pp("trunk"), &model.vision_cfg)?;
            let head = ImageHead::load(&place.pp("head"), &model.vision_cfg, tower.width(), model.embed_dim)?;
            Ok(ImageEncoder { tower, head })
        })
    }

    /// The text side, built at the first call.
    ///
    /// # Errors
    /// A tensor is missing, of another shape or not finite; the tower's `config.json` is missing or malformed.
    pub fn text_encoder(&self) -> Result<&TextEncoder> {
        self.text.get_or_load(|| {
            let (model, place) = (&self.config.model_cfg, self.parameters.pp("text"));
            let config = self.directory.join(TEXT_CONFIG_FILE);
            let tower = load_text_tower(&place.pp("transformer"), &config)?;
            let projection = TextProjection::load(&place, model, tower.width())?;
            Ok(TextEncoder { tower, projection })
        })
    }

    /// Embeds prepared pictures.
    ///
    /// # Shapes
    /// - `images`: `[images, height, width, 3]`, normalised
    /// - result: `[images, embed_dim]`, rows of length 1
    ///
    /// # Errors
    /// The image tower cannot be built, or the shape does not fit.
    pub fn encode_image(&self, images: &Tensor) -> Result<Tensor> {
        self.image_encoder()?.encode(images)
    }

    /// Embeds tokenised texts.
    ///
    /// # Shapes
    /// - result: `[texts, embed_dim]`, rows of length 1
    ///
    /// # Errors
    /// The text tower cannot be built, or a token is outside its vocabulary.
    pub fn encode_text(&self, tokens: &TokenBatch) -> Result<Tensor> {
        self.text_encoder()?.encode(tokens)
    }
}

impl Debug for DualEncoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("DualEncoder");
        debug.field("directory", &self.directory).field("config", &self.config).finish_non_exhaustive()
    }
}

impl ImageEncoder {
    /// Embeds prepared pictures, as [`DualEncoder::encode_image`].
    ///
    /// # Errors
    /// The shape does not fit.
    pub fn encode(&self, images: &Tensor) -> Result<Tensor> {
        l2_normalize(&self.head.forward(&self.tower.features(images)?)?)
    }

    /// The trunk.
    pub fn tower(&self) -> &dyn ImageTower {
        self.tower.as_ref()
    }

    /// The head.
    pub fn head(&self) -> &ImageHead {
        &self.head
    }
}

impl TextEncoder {
    /// Embeds tokenised texts, as [`DualEncoder::encode_text`].
    ///
    /// # Errors
    /// A token is outside the vocabulary.
    pub fn encode(&self, tokens: &TokenBatch) -> Result<Tensor> {
        l2_normalize(&self.projection.forward(&self.tower.features(tokens)?)?)
    }

    /// The transformer with its pooling.
    pub fn tower(&self) -> &dyn TextTower {
        self.tower.as_ref()
    }

    /// The projection.
    pub fn projection(&self) -> &TextProjection {
        &self.projection
    }
}

/// A value that is built at its first use; a failure is reported and tried again at the next use.
struct Lazy<T> {
    value: OnceLock<T>,
    building: Mutex<()>,
}

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self { value: OnceLock::new(), building: Mutex::new(()) }
    }
}

impl<T> Lazy<T> {
    fn get_or_load(&self, load: impl FnOnce() -> Result<T>) -> Result<&T> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = load()?;
        Ok(self.value.get_or_init(|| value))
    }
}
