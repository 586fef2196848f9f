//! From the files of a model directory to the towers that they describe.
//!
//! Three layouts are read:
//!
//! | layout | what describes the towers | weights |
//! | --- | --- | --- |
//! | open_clip | `open_clip_config.json` | `open_clip_model.safetensors` or `open_clip_pytorch_model.bin` |
//! | Hugging Face | `config.json` of a `CLIPModel`, `SiglipModel` or `ChineseCLIPModel`, `preprocessor_config.json` | `model.safetensors` or `pytorch_model.bin`, or shards and an index |
//! | Chinese-CLIP's own | the shapes of its tensors | the directory's only `.pt` |
//!
//! All become an [`Architecture`]: which towers there are, where in the checkpoint, and what projects their features
//! into the shared space.

mod chinese_clip;
pub(super) mod fields;
mod hugging_face;
mod image_side;
mod open_clip;
mod preprocessor_config;
mod text_side;
mod timm_towers;
mod weight_files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;

use crate::dual_encoder::DualEncoder;
use crate::image_preprocessing::PreprocessConfig;
use crate::tokenizer::tokenizer_files;
use crate::weights::{ElementType, save_tensors};
use crate::{ModelError, Result};

pub use image_side::{ImageEncoder, ImageSide, ImageTowerConfig};
pub use image_side::{Projection, ProjectionConfig};
pub use text_side::{TextEncoder, TextSide, TextTowerConfig, TokenPooling};
pub use weight_files::{choose_weights, is_model_file, open_weights, weight_files};

/// The towers of a model, where its checkpoint keeps them, and what they expect.
#[derive(Debug, Clone)]
pub struct Architecture {
    /// Dimensions of the shared space.
    pub embed_dim: usize,
    /// The image tower.
    pub image: ImageSide,
    /// The text tower.
    pub text: TextSide,
    /// What happens to pictures before the image tower.
    pub preprocess: PreprocessConfig,
    /// The files that were read, or will be: all that decides what the model computes.
    pub files: Vec<PathBuf>,
}

impl Architecture {
    /// Reads the configuration of a model directory, open_clip's if there is one, else Hugging Face's. Without either,
    /// a single checkpoint is taken for one of Chinese-CLIP's own.
    ///
    /// # Errors
    /// When neither is there, a file is malformed, or it asks for what relens does not have.
    pub fn open(directory: &Path) -> Result<Self> {
        Self::describe(directory)?.with_files(directory)
    }

    /// As [`Architecture::open`], where the weights need not be there: `files` is left empty.
    ///
    /// # Errors
    /// When there is no configuration, it is malformed, or asks for what relens does not have.
    pub fn describe(directory: &Path) -> Result<Self> {
        let open_clip = directory.join(open_clip::CONFIG_FILE);
        let hugging_face = directory.join(hugging_face::CONFIG_FILE);
        if open_clip.is_file() {
            return open_clip::read(&open_clip);
        }
        if hugging_face.is_file() {
            return hugging_face::read(&hugging_face);
        }
        if let Some(checkpoint) = chinese_clip::checkpoint(directory) {
            return chinese_clip::read(&checkpoint);
        }
        Err(ModelError::Config {
            path: directory.to_owned(),
            reason: format!(
                "expected {} (open_clip), {} (Hugging Face) or one .pt (Chinese-CLIP), found none",
                open_clip::CONFIG_FILE,
                hugging_face::CONFIG_FILE
            ),
        })
    }

    fn with_files(self, directory: &Path) -> Result<Self> {
        let configurations = [open_clip::CONFIG_FILE, hugging_face::CONFIG_FILE, preprocessor_config::FILE]
            .map(|name| directory.join(name));
        let mut files: Vec<PathBuf> = configurations.into_iter().filter(|path| path.is_file()).collect();
        files.extend(tokenizer_files(directory));
        files.extend(weight_files(directory)?);
        Ok(Self { files, ..self })
    }
}

/// Writes the model of `source` into the new directory `target`, its weights as `element`.
///
/// Both towers are built first, so that nothing is written of a model that does not work. Tensors that are no
/// floating-point numbers (counters, position numbers) are left out; no library needs them. So are those that no tower
/// of relens reads and that are not finite, with a warning.
///
/// # Errors
/// When `target` exists, the model cannot be opened, or a file cannot be written.
pub fn convert(source: &Path, target: &Path, element: ElementType) -> Result<()> {
    let encoder = DualEncoder::open(source)?;
    encoder.image_encoder()?;
    encoder.text_encoder()?;
    write_changed(&encoder, &BTreeMap::new(), target, element)
}

/// Writes a model with some of its tensors changed into the new directory `target`: its layout, its other files, its
/// weights as `element`. `changes` are by name, in the checkpoint's layout.
///
/// # Errors
/// When `target` exists, a changed tensor is not one of the model's or has another shape, or a file cannot be written.
pub fn write_changed(
    encoder: &DualEncoder,
    changes: &BTreeMap<String, Tensor>,
    target: &Path,
    element: ElementType,
) -> Result<()> {
    if target.exists() {
        let reason = format!("{}: expected a directory that does not exist yet", target.display());
        return Err(ModelError::Io(std::io::Error::new(std::io::ErrorKind::AlreadyExists, reason)));
    }
    let (source, weights) = (encoder.directory(), encoder.parameters().weights());
    let mut tensors = BTreeMap::new();
    for name in weights.names() {
        let shape = weights.shape(name).unwrap_or_default();
        // Counters and position numbers.
        if weights.stored(name, shape).is_err() {
            continue;
        }
        match weights.tensor(name, shape) {
            Ok(tensor) => drop(tensors.insert(name.to_owned(), tensor)),
            // No tower reads it, or building it would have failed: what an initialisation forgot.
            Err(error @ ModelError::NonFiniteTensor { .. }) => tracing::warn!(%error, "left out"),
            Err(error) => return Err(error),
        }
    }
    for (name, change) in changes {
        let known = tensors.get(name).map(Tensor::dims);
        if known != Some(change.dims()) {
            return Err(ModelError::Argument {
                operation: "write_changed",
                expected: format!("`{name}` of shape {known:?}, as the model has it"),
                found: format!("{:?}", change.dims()),
            });
        }
        tensors.insert(name.clone(), change.clone());
    }
    fs_err::create_dir_all(target)?;
    for entry in fs_err::read_dir(source)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_model_file) {
            fs_err::copy(entry.path(), target.join(entry.file_name()))?;
        }
    }
    let name = if source.join(open_clip::CONFIG_FILE).is_file() {
        "open_clip_model.safetensors"
    } else if source.join(hugging_face::CONFIG_FILE).is_file() {
        "model.safetensors"
    } else {
        chinese_clip::CONVERTED_FILE
    };
    save_tensors(&target.join(name), &tensors, element)
}
