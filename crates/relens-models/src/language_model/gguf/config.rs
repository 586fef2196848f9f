//! The sizes of a decoder, from a GGUF file's metadata and tensors.

use super::file::Gguf;
use crate::Result;
use crate::language_model::llama::{
    LlamaConfig, OutputLayer, Positions, Projections, RotaryConfig, RotaryScaling,
};
use crate::ops::Activation;

/// The constants of Llama 3.1's scaling, which GGUF has only as the factors that follow from them.
const LLAMA3_LOW_FREQUENCY_FACTOR: f64 = 1.0;
const LLAMA3_HIGH_FREQUENCY_FACTOR: f64 = 4.0;
const LLAMA3_ORIGINAL_CONTEXT: usize = 8192;

/// What llama.cpp calls the factors of scaled rotary angles.
const ROTARY_FACTORS: &str = "rope_freqs.weight";

impl Gguf {
    /// The decoder's sizes and parts.
    ///
    /// # Errors
    /// When a field is missing, or describes what this family does not have.
    pub fn config(&self) -> Result<LlamaConfig> {
        let weights = self.weights();
        let vocabulary_size =
            weights.shape("model.embed_tokens.weight").and_then(|shape| shape.first()).copied();
        let Some(vocabulary_size) = vocabulary_size else {
            return Err(self.refuse("tensor `token_embd.weight` is missing".into()));
        };
        let (width, heads) = (self.size("embedding_length")?, self.size("attention.head_count")?);
        let head_dim = match self.optional_size("attention.key_length")? {
            Some(head_dim) => head_dim,
            None => width.checked_div(heads).unwrap_or(0),
        };
        let has = |part: &str| weights.contains(&format!("model.layers.0.{part}"));
        let config = LlamaConfig {
            vocabulary_size,
            width,
            feed_forward_width: self.size("feed_forward_length")?,
            layers: self.size("block_count")?,
            heads,
            key_value_heads: self.optional_size("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            context_length: self.size("context_length")?,
            norm_eps: self.number("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6),
            activation: Activation::Silu,
            positions: Positions::Rotary(self.rotary(head_dim)?),
            projections: Projections::Separate { bias: has("self_attn.q_proj.bias") },
            attention_output_bias: has("self_attn.o_proj.bias"),
            feed_forward_bias: has("mlp.gate_proj.bias"),
            query_key_norm: has("self_attn.q_norm.weight"),
            head: match weights.contains("lm_head.weight") {
                true => OutputLayer::Own,
                false => OutputLayer::Tied,
            },
            end_of_sequence: self.end_of_sequence(),
        };
        config.check().map_err(|reason| self.refuse(reason))?;
        Ok(config)
    }

    fn end_of_sequence(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = ["eos_token_id", "eot_token_id"]
            .iter()
            .filter_map(|name| self.token_id(&format!("tokenizer.ggml.{name}")))
            .collect();
        ids.dedup();
        if ids.is_empty() { vec![2] } else { ids }
    }

    fn rotary(&self, head_dim: usize) -> Result<RotaryConfig> {
        let theta = self.number("rope.freq_base")?.unwrap_or(10_000.0);
        let kind = self.text(&format!("{}.rope.scaling.type", self.architecture()));
        let scaling = match kind.unwrap_or("none") {
            "none" if self.weights().contains(ROTARY_FACTORS) => self.llama3_scaling(theta, head_dim)?,
            "none" => RotaryScaling::None,
            "linear" => RotaryScaling::Linear { factor: self.number("rope.scaling.factor")?.unwrap_or(1.0) },
            other => {
                let field = format!("{}.rope.scaling.type", self.architecture());
                return Err(self.refuse(format!("`{field}` is `{other}`, expected none or linear")));
            }
        };
        Ok(RotaryConfig { theta, scaling })
    }

    /// The scaling whose factors are those of the file.
    fn llama3_scaling(&self, theta: f64, head_dim: usize) -> Result<RotaryScaling> {
        let factors = self.weights().tensor(ROTARY_FACTORS, &[head_dim / 2])?.to_vec1::<f32>()?;
        // llama.cpp keeps only the factors. The long waves have the whole factor; all others must follow from it.
        let largest = factors.iter().copied().fold(1.0f32, f32::max);
        let scaling = RotaryScaling::Llama3 {
            factor: f64::from(largest),
            low_frequency_factor: LLAMA3_LOW_FREQUENCY_FACTOR,
            high_frequency_factor: LLAMA3_HIGH_FREQUENCY_FACTOR,
            original_context_length: LLAMA3_ORIGINAL_CONTEXT,
        };
        let expected = |i: usize| {
            let frequency = theta.powf((2 * i) as f64 / head_dim as f64).recip();
            frequency / scaling.scaled(frequency)
        };
        let differs = |(i, factor): (usize, &f32)| (f64::from(*factor) / expected(i) - 1.0).abs() > 1e-3;
        match factors.iter().enumerate().position(differs) {
            None => Ok(scaling),
            Some(i) => Err(self.refuse(format!(
                "`{ROTARY_FACTORS}` holds {} at element {i}, expected {} as in Llama 3.1",
                factors[i],
                expected(i)
            ))),
        }
    }
}
