//! How many parameters a `config.json` stands for, without any weights.

use std::path::Path;

use relens_models::language_model::bert_t5::BertT5Config;
use relens_models::language_model::t5::T5Config;
use relens_models::lora::LoraConfig;
use relens_models::regular_file::{self, FileKind};
use serde::Deserialize;

use crate::{Result, TrainingError};

/// The sizes of a language model.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ModelSizes {
    /// An encoder and a decoder.
    T5(T5Config),
    /// A trunk that reads and a T5's decoder.
    BertT5(BertT5Config),
    /// A decoder alone, of the Llama or Qwen family.
    Decoder(DecoderSizes),
}

/// The fields of a decoder's `config.json` that decide its size.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct DecoderSizes {
    hidden_size: u64,
    intermediate_size: u64,
    num_hidden_layers: u64,
    num_attention_heads: u64,
    num_key_value_heads: Option<u64>,
    head_dim: Option<u64>,
    vocab_size: u64,
    #[serde(default)]
    tie_word_embeddings: bool,
}

#[derive(Deserialize)]
struct ModelType {
    model_type: String,
}

impl ModelSizes {
    /// Reads a model directory's `config.json`.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("config.json");
        let text = regular_file::read_to_string(&path, FileKind::Settings)?;
        let refuse = |error: serde_json::Error| TrainingError::ConfigFile {
            path: path.clone(),
            reason: error.to_string(),
        };
        let ModelType { model_type } = serde_json::from_str(&text).map_err(refuse)?;
        if model_type == BertT5Config::MODEL_TYPE {
            return Ok(Self::BertT5(BertT5Config::from_json(&text, &path)?));
        }
        if model_type.ends_with("t5") {
            return Ok(Self::T5(T5Config::from_json(&text, &path)?));
        }
        Ok(Self::Decoder(serde_json::from_str(&text).map_err(refuse)?))
    }

    /// Whether each token passes only one of two stacks.
    pub(super) fn has_encoder(&self) -> bool {
        matches!(self, Self::T5(_) | Self::BertT5(_))
    }

    /// The number of parameters.
    pub(super) fn parameters(&self) -> u64 {
        match self {
            Self::T5(config) => t5_parameters(config),
            Self::BertT5(config) => bert_t5_parameters(config),
            Self::Decoder(sizes) => sizes.parameters(),
        }
    }

    /// The number of parameters of a low-rank adapter: rank × (inputs + outputs) of each map that it targets.
    pub(super) fn adapter_parameters(&self, adapter: &LoraConfig) -> u64 {
        let maps: Vec<(&str, u64, u64, u64)> = match self {
            Self::T5(config) => t5_maps(config),
            // An adapter beside a frozen trunk: the decoder's maps.
            Self::BertT5(config) => t5_maps(&T5Config { num_layers: 0, ..decoder_of(config) }),
            Self::Decoder(sizes) => sizes.maps(),
        };
        let targeted = maps.iter().filter(|(name, ..)| adapter.targets(name));
        targeted.map(|(_, inputs, outputs, count)| adapter.rank as u64 * (inputs + outputs) * count).sum()
    }

    /// What a micro-batch of `tokens` keeps for the backward pass; `targets` of them are predicted. With checkpoints, that
    /// is the inside of one layer, and what goes into the others.
    pub(super) fn activation_bytes(
        &self,
        tokens: f64,
        targets: f64,
        per_unit: f64,
        checkpointing: bool,
    ) -> u64 {
        let (layers, width, vocabulary) = match self {
            // A token passes one stack of the two.
            Self::T5(config) => (config.num_layers as f64, config.d_model as f64, config.vocab_size as f64),
            Self::BertT5(config) => {
                let decoder = &config.decoder;
                (decoder.decoder_layers() as f64, decoder.d_model as f64, decoder.vocab_size as f64)
            }
            Self::Decoder(sizes) => {
                (sizes.num_hidden_layers as f64, sizes.hidden_size as f64, sizes.vocab_size as f64)
            }
        };
        let logits = 3.0 * 4.0 * tokens * targets * vocabulary;
        let units = if checkpointing { layers * 4.0 + per_unit } else { layers * per_unit };
        (tokens * width * units + logits) as u64
    }
}

/// The decoder's configuration, its number of layers written out.
fn decoder_of(config: &BertT5Config) -> T5Config {
    T5Config { num_decoder_layers: Some(config.decoder.decoder_layers()), ..config.decoder.clone() }
}

fn bert_t5_parameters(config: &BertT5Config) -> u64 {
    let (bert, decoder) = (&config.encoder, decoder_of(config));
    let (read, width) = (bert.hidden_size as u64, decoder.d_model as u64);
    let inner = bert.intermediate_size as u64;
    let rows = (bert.vocab_size + bert.max_position_embeddings + bert.type_vocab_size) as u64;
    let layer = 4 * read * (read + 1) + 2 * read * inner + inner + read + 4 * read;
    let trunk = rows * read + 2 * read + bert.num_hidden_layers as u64 * layer;
    let memory = 3 * read * width + width;
    let copying = 2 * width * width + width + 1;
    // A T5 without encoder layers still counts an encoder's norm and its table of positions.
    let unused = width + (decoder.relative_attention_num_buckets * decoder.num_heads) as u64;
    trunk + memory + copying + t5_parameters(&T5Config { num_layers: 0, ..decoder }) - unused
}

fn t5_parameters(config: &T5Config) -> u64 {
    let (width, inner) = (config.d_model as u64, (config.num_heads * config.d_kv) as u64);
    let gated = config.feed_forward_proj.starts_with("gated-");
    let feed_forward = width * config.d_ff as u64 * if gated { 3 } else { 2 };
    let attention = 4 * width * inner;
    let encoder = config.num_layers as u64 * (attention + feed_forward + 2 * width);
    let decoder = config.decoder_layers() as u64 * (2 * attention + feed_forward + 3 * width);
    let tables = if config.tie_word_embeddings { 1 } else { 2 };
    let positions = 2 * (config.relative_attention_num_buckets * config.num_heads) as u64;
    tables * config.vocab_size as u64 * width + encoder + decoder + positions + 2 * width
}

/// The linear maps of the blocks: name, inputs, outputs, how many there are.
fn t5_maps(config: &T5Config) -> Vec<(&'static str, u64, u64, u64)> {
    let (width, inner) = (config.d_model as u64, (config.num_heads * config.d_kv) as u64);
    let (encoder, decoder) = (config.num_layers as u64, config.decoder_layers() as u64);
    let hidden = config.d_ff as u64;
    let mut maps = Vec::new();
    for (place, count) in [("SelfAttention", encoder + decoder), ("EncDecAttention", decoder)] {
        let names = match place {
            "SelfAttention" => ["SelfAttention.q", "SelfAttention.k", "SelfAttention.v", "SelfAttention.o"],
            _ => ["EncDecAttention.q", "EncDecAttention.k", "EncDecAttention.v", "EncDecAttention.o"],
        };
        maps.extend(names[..3].iter().map(|name| (*name, width, inner, count)));
        maps.push((names[3], inner, width, count));
    }
    let into: &[&str] = match config.feed_forward_proj.starts_with("gated-") {
        true => &["DenseReluDense.wi_0", "DenseReluDense.wi_1"],
        false => &["DenseReluDense.wi"],
    };
    maps.extend(into.iter().map(|name| (*name, width, hidden, encoder + decoder)));
    maps.push(("DenseReluDense.wo", hidden, width, encoder + decoder));
    maps
}

impl DecoderSizes {
    /// Outputs of the queries' map, and of the keys' and the values'.
    fn attention_widths(&self) -> (u64, u64) {
        let head = self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1));
        let queries = self.num_attention_heads * head;
        (queries, self.num_key_value_heads.unwrap_or(self.num_attention_heads) * head)
    }

    /// As [`t5_maps`].
    fn maps(&self) -> Vec<(&'static str, u64, u64, u64)> {
        let (queries, keys) = self.attention_widths();
        let (width, inner, layers) = (self.hidden_size, self.intermediate_size, self.num_hidden_layers);
        vec![
            ("self_attn.q_proj", width, queries, layers),
            ("self_attn.k_proj", width, keys, layers),
            ("self_attn.v_proj", width, keys, layers),
            ("self_attn.o_proj", queries, width, layers),
            ("mlp.gate_proj", width, inner, layers),
            ("mlp.up_proj", width, inner, layers),
            ("mlp.down_proj", inner, width, layers),
        ]
    }

    fn parameters(&self) -> u64 {
        let (queries, keys) = self.attention_widths();
        let attention = self.hidden_size * (2 * queries + 2 * keys);
        let feed_forward = 3 * self.hidden_size * self.intermediate_size;
        let layer = attention + feed_forward + 2 * self.hidden_size;
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        self.num_hidden_layers * layer + tables * self.vocab_size * self.hidden_size + self.hidden_size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(name: &str) -> ModelSizes {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/paper/models");
        ModelSizes::open(&models.join(name)).unwrap()
    }

    #[test]
    fn the_papers_models_have_the_sizes_that_they_are_known_by() {
        // transformers: sum(p.numel() for p in T5ForConditionalGeneration(T5Config.from_pretrained("t5-large")).parameters())
        assert_eq!(sizes("t5-large").parameters(), 737_668_096);
        // The same of LlamaForCausalLM with the configuration of Llama-2-7b.
        assert_eq!(sizes("llama-2-7b").parameters(), 6_738_415_616);
    }

    #[test]
    fn an_adapter_is_as_large_as_peft_says() {
        // peft: get_peft_model(model, LoraConfig(r=8, target_modules=["q_proj", "v_proj"])).print_trainable_parameters()
        let adapter = LoraConfig::default();
        assert_eq!(sizes("llama-2-7b").adapter_parameters(&adapter), 4_194_304);
        // The same of t5-large with target_modules=["q", "v"].
        assert_eq!(sizes("t5-large").adapter_parameters(&adapter), 2_359_296);
    }
}
