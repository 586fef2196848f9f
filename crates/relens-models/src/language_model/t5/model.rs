//! The whole network: one embedding table, encoder, decoder, output layer.

use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;

use super::T5Config;
use super::decoder::DecoderStack;
use super::encoder::EncoderStack;
use crate::Result;
use crate::dual_encoder::architecture::open_weights;
use crate::language_model::{LanguageModel, PromptTargetBatch};
use crate::layers::{Embedding, Linear};
use crate::lora::LoraAdapter;
use crate::ops;
use crate::parameters::Parameters;
use crate::tokenizer::TokenBatch;

/// A T5 with its output layer.
#[derive(Debug, Clone)]
pub struct T5Model {
    pub(super) config: T5Config,
    embedding: Embedding,
    encoder: EncoderStack,
    decoder: DecoderStack,
    head: T5Head,
    adapter: Option<Arc<LoraAdapter>>,
    trainable: bool,
}

/// What turns hidden states into scores of tokens.
#[derive(Debug, Clone)]
enum T5Head {
    /// A map of its own, or a frozen copy of the embedding table, turned round.
    Own(Linear),
    /// The embedding table itself, `[vocab_size, d_model]`, while it is trained.
    Shared(Tensor),
}

impl T5Head {
    fn load(parameters: &Parameters, config: &T5Config) -> Result<Self> {
        let (width, vocabulary) = (config.d_model, config.vocab_size);
        // A tied checkpoint may hold a copy under the second name, which transformers overwrites.
        if config.output_scale().is_none() && parameters.contains("lm_head.weight") {
            return Ok(Self::Own(Linear::load_without_bias(&parameters.pp("lm_head"), width, vocabulary)?));
        }
        if parameters.is_trainable("shared.weight") {
            return Ok(Self::Shared(parameters.tensor("shared.weight", &[vocabulary, width])?));
        }
        Ok(Self::Own(Linear::load_without_bias(&parameters.pp("shared"), width, vocabulary)?))
    }

    fn detached(&self) -> Result<Self> {
        Ok(Self::Own(match self {
            Self::Own(linear) => linear.detached(),
            // Turned round once: decoding multiplies with it at every token.
            Self::Shared(table) => Linear::new(table.detach().t()?.contiguous()?, None),
        }))
    }
}

impl T5Model {
    /// Takes all tensors under the names that Hugging Face gives them.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, config: &T5Config) -> Result<Self> {
        Ok(Self {
            config: config.clone(),
            embedding: Embedding::load(&parameters.pp("shared"), config.vocab_size, config.d_model)?,
            encoder: EncoderStack::load(&parameters.pp("encoder"), config)?,
            decoder: DecoderStack::load(&parameters.pp("decoder"), config)?,
            head: T5Head::load(parameters, config)?,
            adapter: parameters.adapter().cloned(),
            trainable: parameters.hands_out_variables(),
        })
    }

    /// Reads a frozen model from a directory in Hugging Face's layout.
    ///
    /// # Errors
    /// When `config.json` or the weights are missing, malformed or do not fit each other.
    pub fn open(directory: &Path) -> Result<Self> {
        let config = T5Config::open(directory.join("config.json"))?;
        Self::load(&Parameters::frozen(open_weights(directory)?), &config)
    }

    /// The sizes.
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// Whether training moves any of the weights.
    pub(super) fn is_trainable(&self) -> bool {
        self.trainable
    }

    /// A copy that no gradient reaches, with the weights of this moment.
    ///
    /// # Errors
    /// The tensor library failed to copy.
    pub(super) fn detached(&self) -> Result<Self> {
        Ok(Self {
            config: self.config.clone(),
            embedding: self.embedding.detached(),
            encoder: self.encoder.detached()?,
            decoder: self.decoder.detached()?,
            head: self.head.detached()?,
            adapter: self.adapter.clone(),
            trainable: false,
        })
    }

    pub(super) fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.embedding.forward(ids)
    }

    pub(super) fn encode(&self, prompts: &TokenBatch) -> Result<Tensor> {
        self.encoder.forward(&self.embed(&prompts.ids)?, &prompts.offsets, None)
    }

    pub(super) fn encoder(&self) -> &EncoderStack {
        &self.encoder
    }

    /// What drops inputs of the maps while training.
    pub(super) fn adapter(&self) -> Option<&LoraAdapter> {
        self.adapter.as_deref()
    }

    pub(super) fn decoder_stack(&self) -> &DecoderStack {
        &self.decoder
    }

    /// What the last attention to the encoder reads: what the encoder made of the prompts, `[prompt_tokens, d_model]`,
    /// and the normalised states of the decoder at the targets, `[target_tokens, d_model]`. Without dropout.
    ///
    /// # Errors
    /// A prompt or target is longer than the context.
    pub fn last_cross_attention_inputs(&self, batch: &PromptTargetBatch) -> Result<(Tensor, Tensor)> {
        batch.check(self.context_length(), |prompt| self.most_target_tokens(prompt))?;
        let (prompts, targets) = (&batch.prompts, &batch.targets);
        let memory = self.encode(prompts)?;
        let written = self.embed(&self.decoder_inputs(targets))?;
        let offsets = (targets.offsets.as_slice(), prompts.offsets.as_slice());
        let states = self.decoder.last_query_inputs(&written, &memory, offsets)?;
        Ok((memory, states))
    }

    /// What the decoder reads to predict the targets: they, moved by one, after the token that starts it.
    pub(super) fn decoder_inputs(&self, targets: &TokenBatch) -> Vec<u32> {
        let mut ids = Vec::with_capacity(targets.ids.len());
        for target in (0..targets.len()).filter_map(|i| targets.sequence(i)) {
            if let Some((_, before)) = target.split_last() {
                ids.push(self.config.decoder_start());
                ids.extend_from_slice(before);
            }
        }
        ids
    }

    /// The scores of all tokens.
    pub(super) fn scores(&self, hidden: &Tensor) -> Result<Tensor> {
        let scaled = match self.config.output_scale() {
            Some(scale) => (hidden * scale)?,
            None => hidden.clone(),
        };
        match &self.head {
            T5Head::Own(linear) => linear.forward(&scaled),
            T5Head::Shared(table) => ops::linear_transposed(&scaled, table),
        }
    }
}
