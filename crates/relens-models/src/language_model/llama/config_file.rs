//! A Hugging Face `config.json` of the Llama family, old or new.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::config::{LlamaConfig, OutputLayer, Positions, Projections, RotaryConfig, RotaryScaling};
use crate::ops::Activation;
use crate::{ModelError, Result};

/// The vocabulary of the first Baichuan, whose head is not normalised.
const FIRST_BAICHUAN_VOCABULARY: usize = 64_000;

/// The fields that matter; others are ignored.
#[derive(Debug, Deserialize)]
struct LlamaConfigFile {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    /// Absent in Baichuan's 13 billion, which has ALiBi.
    max_position_embeddings: Option<usize>,
    /// Baichuan's context.
    model_max_length: Option<usize>,
    #[serde(default = "default_eps")]
    rms_norm_eps: f64,
    #[serde(default = "default_activation")]
    hidden_act: String,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    #[serde(default)]
    use_sliding_window: bool,
    eos_token_id: Option<Value>,
    rope_theta: Option<f64>,
    /// As transformers up to 4 writes it; `rope_theta` stands beside it.
    rope_scaling: Option<Map<String, Value>>,
    /// As transformers writes it from 5 on; `rope_theta` stands in it.
    rope_parameters: Option<Map<String, Value>>,
}

fn default_eps() -> f64 {
    1e-6
}

fn default_activation() -> String {
    "silu".into()
}

impl LlamaConfig {
    /// The kinds of `model_type` that are one of these decoders.
    pub const MODEL_TYPES: [&str; 4] = ["llama", "qwen2", "qwen3", "baichuan"];

    /// Whether a `model_type` names a decoder of this family.
    pub fn is_model_type(model_type: &str) -> bool {
        Self::MODEL_TYPES.contains(&model_type)
    }

    /// Parses and validates the text of a `config.json`; `path` names its source in errors.
    ///
    /// # Errors
    /// As [`LlamaConfig::open`].
    pub fn from_json(json: &str, path: &Path) -> Result<Self> {
        let refuse = |reason: String| ModelError::Config { path: path.to_owned(), reason };
        let mut reader = serde_json::Deserializer::from_str(json);
        let file: LlamaConfigFile =
            serde_path_to_error::deserialize(&mut reader).map_err(|error| refuse(error.to_string()))?;
        let config = file.config().map_err(refuse)?;
        config.check().map_err(refuse)?;
        Ok(config)
    }
}

impl LlamaConfigFile {
    fn config(&self) -> Result<LlamaConfig, String> {
        let model_type = self.model_type.as_str();
        if !LlamaConfig::is_model_type(model_type) {
            return Err(format!(
                "`model_type` is `{model_type}`, expected one of {}",
                LlamaConfig::MODEL_TYPES.join(", ")
            ));
        }
        if self.use_sliding_window {
            return Err(
                "`use_sliding_window` is true, expected false: every token sees the whole text".into()
            );
        }
        let (baichuan, qwen2) = (model_type == "baichuan", model_type == "qwen2");
        let attention_bias = self.attention_bias.unwrap_or(false);
        let context_length = self.max_position_embeddings.or(self.model_max_length);
        let Some(context_length) = context_length else {
            return Err("missing field `max_position_embeddings`".into());
        };
        Ok(LlamaConfig {
            vocabulary_size: self.vocab_size,
            width: self.hidden_size,
            feed_forward_width: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            key_value_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dim: self.head_dim()?,
            context_length,
            norm_eps: self.rms_norm_eps,
            activation: self.activation()?,
            positions: self.positions()?,
            projections: match baichuan {
                true => Projections::Packed,
                false => Projections::Separate { bias: qwen2 || attention_bias },
            },
            // `attention_bias` is Llama's field; Qwen 2 has biases on the projections whatever it says, and never on
            // the output.
            attention_output_bias: attention_bias && !baichuan && !qwen2,
            feed_forward_bias: model_type == "llama" && self.mlp_bias.unwrap_or(false),
            query_key_norm: model_type == "qwen3",
            head: self.head(),
            end_of_sequence: self.end_of_sequence()?,
        })
    }

    fn head_dim(&self) -> Result<usize, String> {
        let (width, heads) = (self.hidden_size, self.num_attention_heads);
        match self.head_dim {
            Some(head_dim) => Ok(head_dim),
            None if heads > 0 && width.is_multiple_of(heads) => Ok(width / heads),
            None => {
                Err(format!("`num_attention_heads` is {heads}, expected a divisor of `hidden_size` {width}"))
            }
        }
    }

    fn activation(&self) -> Result<Activation, String> {
        Activation::from_name(&self.hidden_act).ok_or_else(|| {
            let known = "silu, swish, gelu, gelu_new, gelu_pytorch_tanh, quick_gelu or relu";
            format!("`hidden_act` is `{}`, expected {known}", self.hidden_act)
        })
    }

    /// Llama's own default is 2; Qwen has none.
    fn end_of_sequence(&self) -> Result<Vec<u32>, String> {
        let ids = token_ids("eos_token_id", self.eos_token_id.as_ref())?;
        match (ids.is_empty(), self.model_type.starts_with("qwen")) {
            (false, _) => Ok(ids),
            (true, false) => Ok(vec![2]),
            (true, true) => Err("missing field `eos_token_id`".into()),
        }
    }

    fn head(&self) -> OutputLayer {
        if self.tie_word_embeddings.unwrap_or(false) {
            OutputLayer::Tied
        } else if self.model_type == "baichuan" && self.vocab_size != FIRST_BAICHUAN_VOCABULARY {
            OutputLayer::Normalized
        } else {
            OutputLayer::Own
        }
    }

    fn positions(&self) -> Result<Positions, String> {
        if self.model_type == "baichuan" && self.max_position_embeddings.is_none() {
            return Ok(Positions::Alibi);
        }
        let (field, scaling) = match (&self.rope_parameters, &self.rope_scaling) {
            (Some(parameters), _) => ("rope_parameters", Some(parameters)),
            (None, scaling) => ("rope_scaling", scaling.as_ref()),
        };
        let within = scaling.and_then(|scaling| scaling.get("rope_theta")).and_then(Value::as_f64);
        let theta = within.or(self.rope_theta).unwrap_or(10_000.0);
        let scaling = scaling.map_or(Ok(RotaryScaling::None), |scaling| rotary_scaling(field, scaling))?;
        Ok(Positions::Rotary(RotaryConfig { theta, scaling }))
    }
}

fn rotary_scaling(field: &str, given: &Map<String, Value>) -> Result<RotaryScaling, String> {
    let number = |name: &str| {
        let value = given.get(name);
        value.and_then(Value::as_f64).ok_or_else(|| match value {
            Some(value) => format!("`{field}.{name}` is {value}, expected a number"),
            None => format!("missing field `{field}.{name}`"),
        })
    };
    let kind = given.get("rope_type").or_else(|| given.get("type")).and_then(Value::as_str);
    match kind.unwrap_or("default") {
        "default" => Ok(RotaryScaling::None),
        "linear" => Ok(RotaryScaling::Linear { factor: number("factor")? }),
        "llama3" => Ok(RotaryScaling::Llama3 {
            factor: number("factor")?,
            low_frequency_factor: number("low_freq_factor")?,
            high_frequency_factor: number("high_freq_factor")?,
            original_context_length: number("original_max_position_embeddings")? as usize,
        }),
        other => Err(format!("`{field}.rope_type` is `{other}`, expected default, linear or llama3")),
    }
}

/// One id, or a list of them.
pub(super) fn token_ids(field: &str, value: Option<&Value>) -> Result<Vec<u32>, String> {
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| format!("`{field}` is {value}, expected a token id or a list of them"))
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(values)) => values.iter().map(id).collect(),
        Some(value) => Ok(vec![id(value)?]),
    }
}
