//! In which points the decoders of the Llama family differ.

use std::path::Path;

use crate::Result;
use crate::config_limits::{check_epsilon, check_sizes};
use crate::ops::Activation;

/// The sizes and parts of a decoder, whichever kind of file they were read from.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// Rows of the token table.
    pub vocabulary_size: usize,
    /// Width of the hidden states.
    pub width: usize,
    /// Width inside the feed-forward parts.
    pub feed_forward_width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// The longest sequence, prompt and answer together.
    pub context_length: usize,
    /// Added to the mean square by the norms.
    pub norm_eps: f64,
    /// The activation of the feed-forward parts' gate.
    pub activation: Activation,
    /// How the order of the tokens enters.
    pub positions: Positions,
    /// How queries, keys and values are projected.
    pub projections: Projections,
    /// Whether the projection after the attention has a bias.
    pub attention_output_bias: bool,
    /// Whether the maps of the feed-forward parts have a bias.
    pub feed_forward_bias: bool,
    /// Whether each head's queries and keys are normalised (Qwen 3).
    pub query_key_norm: bool,
    /// What turns hidden states into logits.
    pub head: OutputLayer,
    /// The tokens after which an answer is over.
    pub end_of_sequence: Vec<u32>,
}

/// How queries, keys and values are projected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projections {
    /// Three maps, `q_proj`, `k_proj` and `v_proj`.
    Separate {
        /// Whether they have biases (Qwen 2).
        bias: bool,
    },
    /// One map, `W_pack` (Baichuan).
    Packed,
}

/// How the order of the tokens enters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Positions {
    /// Queries and keys are rotated (Su et al., 2021).
    Rotary(RotaryConfig),
    /// Scores fall with the distance (Press et al., 2022).
    Alibi,
}

/// Which angles a position turns queries and keys by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RotaryConfig {
    /// The base of the geometric series of wave lengths. Default 10,000.
    pub theta: f64,
    /// How the angles were changed for a longer context.
    pub scaling: RotaryScaling,
}

/// How rotary angles were changed for a longer context than that of pre-training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RotaryScaling {
    /// They were not.
    None,
    /// Positions are divided by a factor (Chen et al., 2023).
    Linear {
        /// What positions are divided by.
        factor: f64,
    },
    /// Long waves are slowed by a factor, short ones kept, those between interpolated (Llama 3.1).
    Llama3 {
        /// What the frequencies of long waves are divided by.
        factor: f64,
        /// Waves longer than `original_context_length` divided by this are long.
        low_frequency_factor: f64,
        /// Waves shorter than `original_context_length` divided by this are short.
        high_frequency_factor: f64,
        /// The context of pre-training.
        original_context_length: usize,
    },
}

/// What turns hidden states into logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputLayer {
    /// The token table.
    Tied,
    /// A matrix of its own, `lm_head`.
    Own,
    /// A matrix of its own, each row divided by its length (Baichuan 2).
    Normalized,
}

impl LlamaConfig {
    /// Reads and validates a Hugging Face `config.json`.
    ///
    /// # Errors
    /// When the file cannot be read, is not JSON, lacks a field, or describes what this family does not have.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_json(&fs_err::read_to_string(path)?, path)
    }

    /// Width of all query heads together.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key heads together, and of all value heads.
    pub fn key_width(&self) -> usize {
        self.key_value_heads * self.head_dim
    }

    /// Says which field cannot be, if one cannot.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sizes = [
            ("vocab_size", self.vocabulary_size),
            ("hidden_size", self.width),
            ("intermediate_size", self.feed_forward_width),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.context_length),
        ];
        check_sizes(&sizes)?;
        if !self.heads.is_multiple_of(self.key_value_heads) {
            let (heads, shared) = (self.heads, self.key_value_heads);
            return Err(format!(
                "`num_key_value_heads` is {shared}, expected a divisor of `num_attention_heads` {heads}"
            ));
        }
        check_epsilon("rms_norm_eps", self.norm_eps)?;
        if let Some(id) = self.end_of_sequence.iter().find(|&&id| id as usize >= self.vocabulary_size) {
            let size = self.vocabulary_size;
            return Err(format!("`eos_token_id` is {id}, expected less than `vocab_size` {size}"));
        }
        match self.positions {
            Positions::Alibi => Ok(()),
            Positions::Rotary(rotary) => rotary.check(self.head_dim),
        }
    }
}

impl RotaryConfig {
    fn check(&self, head_dim: usize) -> Result<(), String> {
        if !head_dim.is_multiple_of(2) {
            return Err(format!("`head_dim` is {head_dim}, expected an even number"));
        }
        let positive = |name: &str, value: f64| {
            if value.is_finite() && value > 0.0 {
                return Ok(());
            }
            Err(format!("`{name}` is {value}, expected a number above 0"))
        };
        positive("rope_theta", self.theta)?;
        match self.scaling {
            RotaryScaling::None => Ok(()),
            RotaryScaling::Linear { factor } => positive("rope_scaling.factor", factor),
            RotaryScaling::Llama3 {
                factor, low_frequency_factor: low, high_frequency_factor: high, ..
            } => {
                positive("rope_scaling.factor", factor)?;
                positive("rope_scaling.low_freq_factor", low)?;
                if high.is_finite() && high > low {
                    return Ok(());
                }
                Err(format!(
                    "`rope_scaling.high_freq_factor` is {high}, expected above `low_freq_factor` {low}"
                ))
            }
        }
    }
}
