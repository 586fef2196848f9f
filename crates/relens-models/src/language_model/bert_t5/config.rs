//! The sizes of a BERT that reads and a T5 that writes, as their `config.json` gives them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::language_model::t5::T5Config;
use crate::towers::bert::BertConfig;
use crate::{ModelError, Result};

/// The fields of a `config.json` whose `model_type` is [`BertT5Config::MODEL_TYPE`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertT5Config {
    /// What reads. While training, its own dropout holds; a frozen trunk has 0.
    pub encoder: BertConfig,
    /// What writes; of the number of layers, that of the decoder counts. Its tokens are the first `vocab_size` ones of
    /// the encoder's.
    pub decoder: T5Config,
}

impl BertT5Config {
    /// What `config.json` calls such a model.
    pub const MODEL_TYPE: &str = "bert-t5";

    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// When the file cannot be read, is not JSON, lacks a field, or its two halves do not fit each other.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_json(&fs_err::read_to_string(path)?, path)
    }

    /// Parses and validates the text of a `config.json`; `path` names its source in errors.
    ///
    /// # Errors
    /// As [`BertT5Config::open`].
    pub fn from_json(json: &str, path: &Path) -> Result<Self> {
        let refuse = |reason: String| ModelError::Config { path: path.to_owned(), reason };
        let config: Self = serde_json::from_str(json).map_err(|error| refuse(error.to_string()))?;
        config.check().map_err(refuse)?;
        Ok(config)
    }

    /// The most tokens of a prompt.
    pub fn context_length(&self) -> usize {
        self.encoder.max_position_embeddings.min(self.decoder.n_positions)
    }

    fn check(&self) -> Result<(), String> {
        self.encoder.check().map_err(|reason| format!("`encoder`: {reason}"))?;
        self.decoder.check().map_err(|reason| format!("`decoder`: {reason}"))?;
        let (read, written) = (self.encoder.vocab_size, self.decoder.vocab_size);
        if written > read {
            return Err(format!(
                "`decoder.vocab_size` is {written}, expected at most `encoder.vocab_size` {read}"
            ));
        }
        Ok(())
    }
}
