//! A dual encoder with everything around it: from pictures and texts to [`Embeddings`].

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Tensor;
use relens_models::dual_encoder::DualEncoder;
pub use relens_models::dual_encoder::Precision;
use relens_models::image_preprocessing::{Preprocessor, RgbImage};
use relens_models::tokenizer::Tokenizer;

use crate::embed::embeddings::Embeddings;
use crate::embed::long_text::{LongText, mean_of_windows};
use crate::error::{Error, Result};
use crate::model_hub::bundled;
use crate::model_hub::{ModelHub, ModelReference};
use crate::progress::{Progress, Silent};

/// The bundled retriever that is used when none is named.
pub const DEFAULT_MODEL: &str = "relens-mini";

/// How many pictures go through the image tower at once: enough for every thread, little memory.
const IMAGE_BATCH: usize = 16;
/// How many texts go through the text tower at once.
const TEXT_BATCH: usize = 64;

/// What a retriever of eight bits adds to its model's name …
const INT8_NAME: &str = " (int8)";
/// … and to its fingerprint.
const INT8_FINGERPRINT: &str = "-int8";

/// Embeds pictures and texts into one space.
///
/// ```no_run
/// use relens::embed::retriever::Retriever;
///
/// let retriever = Retriever::bundled("relens-mini")?;
/// let texts = retriever.embed_texts(&["a dog in the snow", "two children on a beach"])?;
/// assert_eq!(texts.dim(), retriever.dim());
/// # Ok::<(), relens::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Retriever {
    name: String,
    encoder: DualEncoder,
    preprocessor: Preprocessor,
    tokenizer: OnceLock<Tokenizer>,
    fingerprint: String,
    long_text: LongText,
    truncated_texts: AtomicUsize,
}

impl Retriever {
    /// Opens a model by the path of its directory, by `hf-hub:organisation/name`, by open_clip's `model/weights`, or
    /// else by the name of a bundled model. What is not on this computer yet is downloaded.
    ///
    /// # Errors
    /// There is no such model, or it is malformed.
    pub fn load(model: &str) -> Result<Self> {
        Self::load_from(&ModelHub::from_environment(), model, &mut Silent)
    }

    /// As [`Retriever::load`], from a hub of the caller's choice.
    ///
    /// # Errors
    /// As [`Retriever::load`].
    pub fn load_from(hub: &ModelHub, model: &str, progress: &mut dyn Progress) -> Result<Self> {
        let reference = ModelReference::parse(model)?;
        let retriever = Self::open(reference.directory(hub, progress)?)?;
        // A directory of the hub's cache is called after its commit, which tells people nothing.
        match reference {
            ModelReference::Repository { .. } => Ok(Self { name: reference.to_string(), ..retriever }),
            _ => Ok(retriever),
        }
    }

    /// Opens a model that comes with relens.
    ///
    /// # Errors
    /// There is no bundled model of this name, or it is malformed.
    pub fn bundled(name: &str) -> Result<Self> {
        Self::open(bundled::model(name)?)
    }

    /// Opens a model directory in open_clip's or Hugging Face's layout (see [`relens_models::dual_encoder::architecture`]).
    ///
    /// # Errors
    /// A file is missing or malformed.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        let encoder = DualEncoder::open(directory)?;
        let preprocessor = Preprocessor::new(encoder.architecture().preprocess.clone())?;
        let fingerprint = fingerprint(&encoder.architecture().files)?;
        Ok(Self {
            name: name_of(directory),
            encoder,
            preprocessor,
            tokenizer: OnceLock::new(),
            fingerprint,
            long_text: LongText::default(),
            truncated_texts: AtomicUsize::new(0),
        })
    }

    /// The same retriever with another treatment of texts that do not fit into its context.
    #[must_use]
    pub fn with_long_text(self, long_text: LongText) -> Self {
        Self { long_text, ..self }
    }

    /// The same retriever in another precision. Its vectors are others: name and fingerprint tell them apart.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        let plain = |text: &str, suffix: &str| text.strip_suffix(suffix).unwrap_or(text).to_owned();
        let (mut name, mut fingerprint) =
            (plain(&self.name, INT8_NAME), plain(&self.fingerprint, INT8_FINGERPRINT));
        if precision == Precision::Int8 {
            name.push_str(INT8_NAME);
            fingerprint.push_str(INT8_FINGERPRINT);
        }
        Self { name, fingerprint, encoder: self.encoder.with_precision(precision), ..self }
    }

    /// The model's own name, and the precision, of a name that [`Retriever::name`] gave.
    pub fn model_and_precision(name: &str) -> (&str, Precision) {
        match name.strip_suffix(INT8_NAME) {
            Some(model) => (model, Precision::Int8),
            None => (name, Precision::Float),
        }
    }

    /// How many texts have lost their end since the retriever was opened.
    pub fn truncated_texts(&self) -> usize {
        self.truncated_texts.load(Ordering::Relaxed)
    }

    /// The model directory's name, and the precision if it is not f32.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A hash of everything that decides the vectors: vectors of equal fingerprints may be compared.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Components of a vector.
    pub fn dim(&self) -> usize {
        self.encoder.embed_dim()
    }

    /// The logarithm of the learned temperature: `exp(logit_scale)` multiplied cosines in training.
    pub fn logit_scale(&self) -> f32 {
        self.encoder.logit_scale()
    }

    /// The towers behind this retriever.
    pub fn encoder(&self) -> &DualEncoder {
        &self.encoder
    }

    /// What happens to a picture before the image tower.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// What cuts texts into tokens; read at the first call.
    ///
    /// # Errors
    /// The tokenizer's files are missing or malformed.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(tokenizer);
        }
        let tokenizer = self.encoder.open_tokenizer()?;
        Ok(self.tokenizer.get_or_init(|| tokenizer))
    }

    /// Embeds pictures.
    ///
    /// # Errors
    /// The image tower cannot be built.
    pub fn embed_images(&self, images: &[RgbImage]) -> Result<Embeddings> {
        let mut embeddings = Embeddings::new(self.dim());
        for batch in images.chunks(IMAGE_BATCH) {
            let prepared = self.preprocessor.batch(batch)?;
            let rows = self.rows(&self.encoder.encode_image(&prepared)?)?;
            rows.ensure_finite("pictures")?;
            embeddings.append(&rows)?;
        }
        Ok(embeddings)
    }

    /// Embeds texts. What is longer than the model's context is treated as [`Retriever::with_long_text`] says; texts
    /// that lose their end are counted in [`Retriever::truncated_texts`].
    ///
    /// # Errors
    /// The text tower or the tokenizer cannot be built.
    pub fn embed_texts<S: AsRef<str>>(&self, texts: &[S]) -> Result<Embeddings> {
        let tokenizer = self.tokenizer()?;
        let mut embeddings = Embeddings::new(self.dim());
        for batch in texts.chunks(TEXT_BATCH) {
            let batch: Vec<&str> = batch.iter().map(AsRef::as_ref).collect();
            let (rows, truncated) = match self.long_text {
                LongText::Truncate => {
                    let tokens = tokenizer.encode_batch(&batch)?;
                    let truncated = tokens.truncated.iter().filter(|&&truncated| truncated).count();
                    (self.rows(&self.encoder.encode_text(&tokens)?)?, truncated)
                }
                LongText::MeanOfWindows => mean_of_windows(&self.encoder, tokenizer, &batch)?,
            };
            self.truncated_texts.fetch_add(truncated, Ordering::Relaxed);
            // Finite weights can still overflow on the way; such a vector must not reach an index.
            rows.ensure_finite("texts")?;
            embeddings.append(&rows)?;
        }
        Ok(embeddings)
    }

    fn rows(&self, vectors: &Tensor) -> Result<Embeddings> {
        let values = vectors.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
        Embeddings::from_rows(self.dim(), values.map_err(relens_models::ModelError::from)?)
    }
}

/// The last component of the directory's path, resolved so that `.` has a name too.
fn name_of(directory: &Path) -> String {
    let resolved: PathBuf = fs_err::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    resolved
        .file_name()
        .map_or_else(|| resolved.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Hashes the files that decide the vectors. BLAKE3 reads a mapped file on all threads: milliseconds for a small model.
fn fingerprint(files: &[PathBuf]) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for path in files {
        hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update_mmap_rayon(path).map_err(|source| {
            Error::Io(std::io::Error::new(source.kind(), format!("{}: {source}", path.display())))
        })?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}
