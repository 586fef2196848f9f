//! A dual encoder: an image tower and a text tower that end in one space.
//!
//! A model is a directory in one of the layouts of [`crate::dual_encoder::architecture`].
//!
//! A tower is built when it is first used: a text query never pays for reading the image tower.

pub mod architecture;
mod config;

use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::Tensor;

pub use config::{CONFIG_FILE, DualEncoderConfig, HeadKind, ModelConfig, TextConfig, VisionConfig};

use crate::dual_encoder::architecture::{Architecture, ImageEncoder, TextEncoder, open_weights};
use crate::error::{ModelError, Result};
use crate::parameters::{LinearStorage, Parameters};
use crate::tokenizer::{TokenBatch, Tokenizer};

/// The weights' file name inside a model directory.
pub const WEIGHTS_FILE: &str = "open_clip_model.safetensors";
/// The text tower's configuration inside a model directory.
pub const TEXT_CONFIG_FILE: &str = "config.json";
/// The tokenizer inside a model directory.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// In which numbers the linear maps of transformers are computed; all else is f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// f32.
    #[default]
    Float,
    /// Weights and activations of eight bits: about twice as fast, a little less exact, frozen.
    Int8,
}

/// An image tower and a text tower that end in one space.
pub struct DualEncoder {
    directory: PathBuf,
    architecture: Architecture,
    parameters: Parameters,
    logit_scale: f32,
    image: Lazy<ImageEncoder>,
    text: Lazy<TextEncoder>,
}

impl DualEncoder {
    /// Opens a model directory: reads the configuration and maps the weights.
    ///
    /// # Errors
    /// A file is missing or malformed, or asks for a tower that relens does not have.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        let architecture = Architecture::open(directory)?;
        Self::new(directory, architecture, Parameters::frozen(open_weights(directory)?))
    }

    /// Builds the model on given parameters, which may be trainable.
    ///
    /// # Errors
    /// `logit_scale` is missing, or not one number.
    pub fn new(directory: &Path, architecture: Architecture, parameters: Parameters) -> Result<Self> {
        // SigLIP stores a vector of one element.
        let shape: &[usize] = if parameters.shape("logit_scale") == Some(&[1]) { &[1] } else { &[] };
        let logit_scale =
            parameters.weights().tensor("logit_scale", shape)?.reshape(())?.to_scalar::<f32>()?;
        let (image, text) = (Lazy::default(), Lazy::default());
        Ok(Self { directory: directory.to_owned(), architecture, parameters, logit_scale, image, text })
    }

    /// The same model, computing in another precision; towers that were built are built anew.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        let storage = match precision {
            Precision::Float => LinearStorage::default(),
            Precision::Int8 => LinearStorage::Int8,
        };
        let parameters = self.parameters.with_storage(storage);
        Self { parameters, image: Lazy::default(), text: Lazy::default(), ..self }
    }

    /// The model directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The towers, and what they expect.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// What the towers are built from.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Dimensions of the shared space.
    pub fn embed_dim(&self) -> usize {
        self.architecture.embed_dim
    }

    /// The learned temperature: `exp(logit_scale)` multiplies cosines in the training objective.
    pub fn logit_scale(&self) -> f32 {
        self.logit_scale
    }

    /// Reads the tokenizer of the model's directory.
    ///
    /// # Errors
    /// Its files are missing or malformed, or it has more words than the text tower knows.
    pub fn open_tokenizer(&self) -> Result<Tokenizer> {
        let side = &self.architecture.text;
        let tokenizer = Tokenizer::open_directory(&self.directory, &side.tokenizer)?;
        let (found, known) = (tokenizer.vocabulary_size(), side.tower.vocabulary_size());
        if found > known {
            return Err(ModelError::Tokenizer {
                path: tokenizer.path().to_owned(),
                reason: format!("expected at most {known} tokens, as the text tower knows, found {found}"),
            });
        }
        Ok(tokenizer)
    }

    /// The image side, built at the first call.
    ///
    /// # Errors
    /// A tensor is missing, of another shape or not finite.
    pub fn image_encoder(&self) -> Result<&ImageEncoder> {
        let side = &self.architecture.image;
        self.image.get_or_load(|| ImageEncoder::load(&self.parameters, side, self.embed_dim()))
    }

    /// The text side, built at the first call.
    ///
    /// # Errors
    /// A tensor is missing, of another shape or not finite.
    pub fn text_encoder(&self) -> Result<&TextEncoder> {
        let side = &self.architecture.text;
        self.text.get_or_load(|| TextEncoder::load(&self.parameters, side, self.embed_dim()))
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
        debug
            .field("directory", &self.directory)
            .field("architecture", &self.architecture)
            .finish_non_exhaustive()
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
        // One thread builds while the others wait: built twice, a large tower would need its memory twice.
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = load()?;
        Ok(self.value.get_or_init(|| value))
    }
}
