//! A GGUF file as a Hugging Face directory, whose weights can be trained.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::file::Gguf;
use crate::Result;
use crate::atomic_file::write_atomically;
use crate::language_model::llama::{OutputLayer, Positions, Projections, RotaryScaling};
use crate::weights::{ElementType, save_tensors};

impl Gguf {
    /// Writes `config.json`, `model.safetensors`, `tokenizer.json`, `tokenizer_config.json` and
    /// `generation_config.json` into a directory, the weights widened from their blocks.
    ///
    /// # Errors
    /// When a tensor cannot be read, or a file cannot be written.
    pub fn save_hugging_face(&self, directory: impl AsRef<Path>, element: ElementType) -> Result<()> {
        let directory = directory.as_ref();
        fs_err::create_dir_all(directory)?;
        let tokenizer = self.tokenizer_json()?.to_string();
        let mut tensors = BTreeMap::new();
        for name in
            self.weights().names().filter(|name| name.starts_with("model.") || name.starts_with("lm_head"))
        {
            let shape = self.weights().shape(name).unwrap_or_default();
            tensors.insert(name.to_owned(), self.weights().tensor(name, shape)?);
        }
        let json = |name: &str, value: serde_json::Value| {
            write_atomically(&directory.join(name), format!("{value:#}\n").as_bytes())
        };
        json("config.json", self.config_json()?)?;
        json(
            "generation_config.json",
            json!({
                "bos_token_id": self.token_id("tokenizer.ggml.bos_token_id"),
                "eos_token_id": self.config()?.end_of_sequence,
                "pad_token_id": self.token_id("tokenizer.ggml.padding_token_id"),
            }),
        )?;
        json(
            "tokenizer_config.json",
            json!({
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": self.token("bos"),
                "eos_token": self.token("eos"),
                "pad_token": self.token("padding"),
                "chat_template": self.text("tokenizer.chat_template"),
            }),
        )?;
        write_atomically(&directory.join("tokenizer.json"), tokenizer.as_bytes())?;
        save_tensors(&directory.join("model.safetensors"), &tensors, element)
    }

    /// The text of a special token.
    fn token(&self, role: &str) -> Option<&str> {
        use candle_core::quantized::gguf_file::Value;
        let id = self.token_id(&format!("tokenizer.ggml.{role}_token_id"))?;
        let Some(Value::Array(tokens)) = self.any_field("tokenizer.ggml.tokens") else { return None };
        tokens.get(id as usize)?.to_string().ok().map(String::as_str)
    }

    fn config_json(&self) -> Result<serde_json::Value> {
        let config = self.config()?;
        let class = match self.architecture() {
            "qwen2" => "Qwen2ForCausalLM",
            "qwen3" => "Qwen3ForCausalLM",
            _ => "LlamaForCausalLM",
        };
        let Positions::Rotary(rotary) = config.positions else {
            return Err(self.refuse("expected rotary positions".into()));
        };
        let scaling = match rotary.scaling {
            RotaryScaling::None => json!(null),
            RotaryScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            RotaryScaling::Llama3 {
                factor,
                low_frequency_factor,
                high_frequency_factor,
                original_context_length,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_frequency_factor,
                "high_freq_factor": high_frequency_factor,
                "original_max_position_embeddings": original_context_length,
            }),
        };
        Ok(json!({
            "architectures": [class],
            "model_type": self.architecture(),
            "vocab_size": config.vocabulary_size,
            "hidden_size": config.width,
            "intermediate_size": config.feed_forward_width,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "num_key_value_heads": config.key_value_heads,
            "head_dim": config.head_dim,
            "max_position_embeddings": config.context_length,
            // GGUF keeps it in single precision: the shortest number that rounds to the same is what was meant.
            "rms_norm_eps": (config.norm_eps as f32).to_string().parse::<f64>().unwrap_or(config.norm_eps),
            "hidden_act": "silu",
            "attention_bias": config.projections == Projections::Separate { bias: true },
            "mlp_bias": config.feed_forward_bias,
            "rope_theta": rotary.theta,
            "rope_scaling": scaling,
            "tie_word_embeddings": config.head == OutputLayer::Tied,
            "bos_token_id": self.token_id("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self.token_id("tokenizer.ggml.eos_token_id"),
            "torch_dtype": "float32",
        }))
    }
}
