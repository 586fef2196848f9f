//! The sizes of a T5, as its `config.json` gives them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config_limits::{LARGEST_SIZE, check_dropout, check_epsilon, check_sizes};
use crate::ops::Activation;
use crate::{ModelError, Result};

/// The fields of Hugging Face's `T5Config` that the model depends on; others are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct T5Config {
    /// Rows of the embedding table. Default 32128.
    pub vocab_size: usize,
    /// Width of the hidden states. Default 512.
    pub d_model: usize,
    /// Width of one head. Default 64.
    pub d_kv: usize,
    /// Width inside the feed-forward parts. Default 2048.
    pub d_ff: usize,
    /// Number of encoder layers. Default 6.
    pub num_layers: usize,
    /// Number of decoder layers. Default as many as encoder layers.
    pub num_decoder_layers: Option<usize>,
    /// Number of heads; `num_heads · d_kv` need not be `d_model`. Default 8.
    pub num_heads: usize,
    /// Buckets that distances between tokens fall into; even. Default 32.
    pub relative_attention_num_buckets: usize,
    /// The distance from which on all share the last bucket. Default 128.
    pub relative_attention_max_distance: usize,
    /// Dropout everywhere while training. Default 0.1.
    pub dropout_rate: f32,
    /// Added to the mean square by the norms. Default 1e-6.
    pub layer_norm_epsilon: f64,
    /// The activation of the feed-forward parts, `gated-` in front if they are gated. Default `relu`.
    pub feed_forward_proj: String,
    /// Whether the output layer is the embedding table. Default true.
    pub tie_word_embeddings: bool,
    /// Whether the output layer's input is multiplied by 1/√d_model. Default as `tie_word_embeddings`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_decoder_outputs: Option<bool>,
    /// The most tokens of a prompt, and of a target. Nothing in the network limits them; T5 was trained with 512,
    /// the default.
    pub n_positions: usize,
    /// The id that starts the decoder. Default `pad_token_id`.
    pub decoder_start_token_id: Option<u32>,
    /// The id that transformers pads with. Default 0.
    pub pad_token_id: Option<u32>,
    /// The id or ids that end a sequence. Default 1.
    pub eos_token_id: OneOrMore,
}

/// One id, or a list of ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    /// A number in the file.
    One(u32),
    /// A list in the file.
    More(Vec<u32>),
}

impl OneOrMore {
    /// The ids.
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::More(ids) => ids,
        }
    }
}

impl Default for T5Config {
    fn default() -> Self {
        Self {
            vocab_size: 32128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_decoder_layers: None,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            dropout_rate: 0.1,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "relu".to_owned(),
            tie_word_embeddings: true,
            scale_decoder_outputs: None,
            n_positions: 512,
            decoder_start_token_id: None,
            pad_token_id: None,
            eos_token_id: OneOrMore::One(1),
        }
    }
}

impl T5Config {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// When the file cannot be read, is not JSON, a field is of the wrong type, or it asks for what this T5 is not.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_json(&fs_err::read_to_string(path)?, path)
    }

    /// Parses and validates the text of a `config.json`; `path` names its source in errors.
    ///
    /// # Errors
    /// As [`T5Config::open`].
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
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_layers", self.num_layers),
            ("num_decoder_layers", self.decoder_layers()),
            ("num_heads", self.num_heads),
            ("relative_attention_max_distance", self.relative_attention_max_distance),
            ("n_positions", self.n_positions),
        ];
        check_sizes(&sizes)?;
        let (buckets, furthest) = (self.relative_attention_num_buckets, self.relative_attention_max_distance);
        if !(4..=LARGEST_SIZE).contains(&buckets) || !buckets.is_multiple_of(2) {
            let expected = format!("an even number from 4 to {LARGEST_SIZE}");
            return Err(format!("`relative_attention_num_buckets` is {buckets}, expected {expected}"));
        }
        if furthest <= buckets / 2 {
            let expected = format!("more than half of the {buckets} buckets");
            return Err(format!("`relative_attention_max_distance` is {furthest}, expected {expected}"));
        }
        check_dropout("dropout_rate", self.dropout_rate)?;
        check_epsilon("layer_norm_epsilon", self.layer_norm_epsilon)?;
        let start = ("decoder_start_token_id", self.decoder_start());
        let ends = self.eos_token_id.as_slice();
        for (name, id) in ends.iter().map(|&id| ("eos_token_id", id)).chain([start]) {
            if id as usize >= self.vocab_size {
                return Err(format!("`{name}` is {id}, expected below `vocab_size` {}", self.vocab_size));
            }
        }
        if ends.is_empty() {
            return Err("`eos_token_id` is an empty list, expected at least one id".into());
        }
        self.activation().map(|_| ())
    }

    /// The number of decoder layers.
    pub fn decoder_layers(&self) -> usize {
        self.num_decoder_layers.unwrap_or(self.num_layers)
    }

    /// The id that starts the decoder.
    pub fn decoder_start(&self) -> u32 {
        self.decoder_start_token_id.or(self.pad_token_id).unwrap_or(0)
    }

    /// Width of all heads together.
    pub(super) fn inner_width(&self) -> usize {
        self.num_heads * self.d_kv
    }

    /// What the output layer's input is multiplied by.
    pub(super) fn output_scale(&self) -> Option<f64> {
        let scaled = self.scale_decoder_outputs.unwrap_or(self.tie_word_embeddings);
        scaled.then(|| (self.d_model as f64).powf(-0.5))
    }

    /// The activation that `feed_forward_proj` names, and whether the feed-forward parts are gated.
    pub(super) fn activation(&self) -> Result<(Activation, bool), String> {
        let name = self.feed_forward_proj.as_str();
        let (gated, plain) = match name.strip_prefix("gated-") {
            // Transformers reads this name as the approximation by tanh, with which T5 1.1 was trained.
            Some("gelu") => (true, "gelu_new"),
            Some(rest) => (true, rest),
            None => (false, name),
        };
        match Activation::from_name(plain) {
            Some(activation) => Ok((activation, gated)),
            None => Err(format!(
                "`feed_forward_proj` is `{name}`, expected relu, gelu, gelu_new or silu, or one of them after `gated-`"
            )),
        }
    }
}
