//! A decoder and its tokenizer from a directory or a GGUF file.

use std::path::Path;

use serde_json::Value;

use super::config::LlamaConfig;
use super::config_file::token_ids;
use super::model::LlamaModel;
use crate::dual_encoder::architecture::open_weights;
use crate::language_model::gguf::Gguf;
use crate::parameters::{LinearStorage, Parameters};
use crate::tokenizer::Tokenizer;
use crate::{ModelError, Result};

/// The longest texts that a tokenizer is asked for.
const LONGEST_TEXT: usize = 1 << 17;

impl LlamaModel {
    /// Opens a Hugging Face directory, or a `.gguf` file, for inference: the frozen decoder and its tokenizer. A
    /// `tokenizer.json` beside a GGUF file goes before the tokenizer inside.
    ///
    /// # Errors
    /// When a file is missing, malformed or truncated, a tensor does not fit, or the model is of another family.
    pub fn open(path: impl AsRef<Path>, storage: LinearStorage) -> Result<(Self, Tokenizer)> {
        let path = path.as_ref();
        if path.is_dir() {
            let config = Self::directory_config(path)?;
            let parameters = Parameters::frozen(open_weights(path)?).with_storage(storage);
            let tokenizer = Tokenizer::open(path, config.context_length.min(LONGEST_TEXT))?;
            return Ok((Self::load(&parameters, &config)?, tokenizer));
        }
        let gguf = Gguf::open(path)?;
        let config = gguf.config()?;
        let parameters = Parameters::frozen(gguf.weights().clone()).with_storage(storage);
        let context_length = config.context_length.min(LONGEST_TEXT);
        let beside = path.with_file_name("tokenizer.json");
        let tokenizer = match beside.is_file() {
            true => Tokenizer::open(beside, context_length)?,
            false => gguf.tokenizer(context_length)?,
        };
        Ok((Self::load(&parameters, &config)?, tokenizer))
    }

    /// The configuration of a directory; the tokens that end an answer are those of `generation_config.json`, if it
    /// names any.
    ///
    /// # Errors
    /// When a file is missing, malformed, or of another family.
    pub fn directory_config(directory: &Path) -> Result<LlamaConfig> {
        let mut config = LlamaConfig::open(directory.join("config.json"))?;
        let path = directory.join("generation_config.json");
        if path.is_file() {
            let refuse = |reason: String| ModelError::Config { path: path.clone(), reason };
            let generation: Value = serde_json::from_str(&fs_err::read_to_string(&path)?)
                .map_err(|error| refuse(error.to_string()))?;
            let ids = token_ids("eos_token_id", generation.get("eos_token_id")).map_err(refuse)?;
            if !ids.is_empty() {
                config.end_of_sequence = ids;
                config.check().map_err(refuse)?;
            }
        }
        Ok(config)
    }
}
