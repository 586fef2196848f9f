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
mod conversion;
pub(super) mod fields;
mod hugging_face;
mod image_side;
mod open_clip;
mod preprocessor_config;
mod projection;
mod text_side;
mod timm_towers;
mod weight_files;

use std::path::{Path, PathBuf};

pub use conversion::{convert, write_changed};
pub use image_side::{ImageEncoder, ImageSide, ImageTowerConfig};
pub use projection::{Projection, ProjectionConfig};
pub use text_side::{TextEncoder, TextSide, TextTowerConfig, TokenPooling};
pub use weight_files::{choose_weights, is_model_file, open_weights, weight_files};

use crate::image_preprocessing::PreprocessConfig;
use crate::tokenizer::tokenizer_files;
use crate::{ModelError, Result};

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
