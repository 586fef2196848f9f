//! The whole network: one embedding table, encoder, decoder, output layer.

use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;

use super::T5Config;
use super::checkpointing::T5Pass;
use super::decoder::DecoderStack;
use super::encoder::Encoder;
use super::incremental::T5Decoder;
use super::writer::{Memory, Writer};
use crate::Result;
use crate::dual_encoder::architecture::open_weights;
use crate::language_model::{CheckpointedPass, Decoder, LanguageModel, PromptTargetBatch, check_prompts};
use crate::layers::DropoutGenerator;
use crate::lora::LoraAdapter;
use crate::parameters::Parameters;
use crate::tokenizer::TokenBatch;

/// A T5 with its output layer.
#[derive(Debug, Clone)]
pub struct T5Model {
    encoder: Encoder,
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
            encoder: Encoder::load(&parameters.pp("encoder"), config)?,
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

    pub(super) fn encoder(&self) -> &Encoder {
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
}

impl LanguageModel for T5Model {
    fn width(&self) -> usize {
        self.config().d_model
    }

    fn vocabulary_size(&self) -> usize {
        self.config().vocab_size
    }

    fn context_length(&self) -> usize {
        self.config().n_positions
    }

    fn most_target_tokens(&self, _prompt_length: usize) -> usize {
        self.config().n_positions
    }

    fn end_of_sequence(&self) -> &[u32] {
        self.config().eos_token_id.as_slice()
    }

    fn target_hidden(
        &self,
        batch: &PromptTargetBatch,
        mut dropout: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        batch.check(self.context_length(), |prompt| self.most_target_tokens(prompt))?;
        let _dropping = self.adapter.as_ref().map(|adapter| adapter.training_dropout(dropout.as_deref_mut()));
        let (prompts, targets) = (&batch.prompts, &batch.targets);
        // One look-up for both sides, so that the table gets one gradient.
        let mut ids = prompts.ids.clone();
        ids.extend(self.writer.inputs(targets));
        let embedded = self.embed(&ids)?;
        let read = embedded.narrow(0, 0, prompts.ids.len())?;
        let written = embedded.narrow(0, prompts.ids.len(), targets.ids.len())?;
        let states = self.encoder.forward(&read, &prompts.offsets, dropout.as_deref_mut())?;
        let memory = Memory { states, written: None };
        self.writer.hidden(&written, &memory, (&targets.offsets, &prompts.offsets), dropout)
    }

    fn checkpointed_target_hidden<'a>(
        &'a self,
        batch: &PromptTargetBatch,
        dropout: Option<DropoutGenerator>,
    ) -> Result<Box<dyn CheckpointedPass + 'a>> {
        batch.check(self.context_length(), |prompt| self.most_target_tokens(prompt))?;
        Ok(Box::new(T5Pass::run(self, batch, dropout)?))
    }

    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.writer.logits(hidden)
    }

    fn decoder<'a>(&'a self, prompts: &TokenBatch) -> Result<Box<dyn Decoder + 'a>> {
        check_prompts(prompts, self.context_length())?;
        let states = match self.trainable {
            true => {
                let embedded = self.embed(&prompts.ids)?.detach();
                self.encoder.detached()?.forward(&embedded, &prompts.offsets, None)?
            }
            false => self.encode(prompts)?,
        };
        let memory = Memory { states, written: None };
        Ok(Box::new(T5Decoder::new(&self.writer, self.trainable, &memory, prompts)?))
    }
}
