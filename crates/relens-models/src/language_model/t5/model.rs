//! The whole network: one embedding table, encoder, decoder, output layer.

use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;

use super::T5Config;
use super::decoder::DecoderStack;
use super::encoder::EncoderStack;
use super::writer::Writer;
use crate::Result;
use crate::dual_encoder::architecture::open_weights;
use crate::language_model::{LanguageModel, PromptTargetBatch};
use crate::lora::LoraAdapter;
use crate::parameters::Parameters;
use crate::tokenizer::TokenBatch;

/// A T5 with its output layer.
#[derive(Debug, Clone)]
pub struct T5Model {
    encoder: EncoderStack,
    writer: Writer,
    adapter: Option<Arc<LoraAdapter>>,
    trainable: bool,
}

impl T5Model {
    /// Takes all tensors under the names that Hugging Face gives them.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, config: &T5Config) -> Result<Self> {
        // The table first: its error names the vocabulary and the width.
        let writer = Writer::load(parameters, config, false)?;
        Ok(Self {
            encoder: EncoderStack::load(&parameters.pp("encoder"), config)?,
            writer,
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
        self.writer.config()
    }

    pub(super) fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.writer.embed(ids)
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
        self.writer.stack()
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
        let written = self.embed(&self.writer.inputs(targets))?;
        let offsets = (targets.offsets.as_slice(), prompts.offsets.as_slice());
        let states = self.writer.stack().last_query_inputs(&written, &memory, offsets)?;
        Ok((memory, states))
    }

    pub(super) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Whether the weights are being trained.
    pub(super) fn is_trainable(&self) -> bool {
        self.trainable
    }
}
