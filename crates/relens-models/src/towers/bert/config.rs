//! The sizes of a BERT, as its `config.json` gives them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config_limits::{check_dropout, check_epsilon, check_sizes};
use crate::ops::Activation;
use crate::regular_file::{self, FileKind};
use crate::{ModelError, Result};

/// The fields of Hugging Face's `BertConfig` that the encoder depends on; others are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Rows of the word table.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward blocks.
    pub intermediate_size: usize,
    /// The feed-forward blocks' activation, by Hugging Face's name. Default `gelu`.
    #[serde(default = "default_activation")]
    pub hidden_act: String,
    /// Dropout after embeddings, attention and feed-forward blocks while training. Default 0.1.
    #[serde(default = "default_dropout")]
    pub hidden_dropout_prob: f32,
    /// Dropout of attention probabilities while training. Default 0.1.
    #[serde(default = "default_dropout")]
    pub attention_probs_dropout_prob: f32,
    /// Rows of the position table: the longest sequence. Default 512.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    /// Rows of the segment table. Default 2.
    #[serde(default = "default_segments")]
    pub type_vocab_size: usize,
    /// Added to the variance by the norms. Default 1e-12.
    #[serde(default = "default_eps")]
    pub layer_norm_eps: f64,
    /// How positions enter; only `absolute`, the default, is known.
    #[serde(default = "default_position_embedding")]
    pub position_embedding_type: String,
}

fn default_activation() -> String {
    "gelu".into()
}

fn default_dropout() -> f32 {
    0.1
}

fn default_positions() -> usize {
    512
}

fn default_segments() -> usize {
    2
}

fn default_eps() -> f64 {
    1e-12
}

fn default_position_embedding() -> String {
    "absolute".into()
}

impl BertConfig {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// When the file cannot be read, is not JSON, lacks a field, or asks for what this BERT is not.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_json(&regular_file::read_to_string(path, FileKind::Settings)?, path)
    }

    /// Parses and validates the text of a `config.json`; `path` names its source in errors.
    ///
    /// # Errors
    /// As [`BertConfig::open`].
    pub fn from_json(json: &str, path: &Path) -> Result<Self> {
        let refuse = |reason: String| ModelError::Config { path: path.to_owned(), reason };
        let config: Self = serde_json::from_str(json).map_err(|error| refuse(error.to_string()))?;
        config.check().map_err(refuse)?;
        Ok(config)
    }

    /// Says which field cannot be, if one cannot.
    ///
    /// # Errors
    /// The field, what was expected and what was found.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        check_sizes(&sizes)?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let (width, heads) = (self.hidden_size, self.num_attention_heads);
            return Err(format!(
                "`num_attention_heads` is {heads}, expected a divisor of `hidden_size` {width}"
            ));
        }
        check_dropout("hidden_dropout_prob", self.hidden_dropout_prob)?;
        check_dropout("attention_probs_dropout_prob", self.attention_probs_dropout_prob)?;
        check_epsilon("layer_norm_eps", self.layer_norm_eps)?;
        if self.position_embedding_type != "absolute" {
            let found = &self.position_embedding_type;
            return Err(format!("`position_embedding_type` is `{found}`, expected `absolute`"));
        }
        self.activation().map(|_| ())
    }

    /// The activation that `hidden_act` names.
    pub(super) fn activation(&self) -> Result<Activation, String> {
        Activation::from_name(&self.hidden_act).ok_or_else(|| {
            let known = "gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, relu, silu or swish";
            format!("`hidden_act` is `{}`, expected {known}", self.hidden_act)
        })
    }
}
