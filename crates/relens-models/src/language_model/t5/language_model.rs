//! T5 as a language model: the prompt goes into the encoder, the target into the decoder.

use candle_core::Tensor;

use super::checkpointing::T5Pass;
use super::incremental::T5Decoder;
use super::model::T5Model;
use super::writer::Memory;
use crate::Result;
use crate::language_model::{CheckpointedPass, Decoder, LanguageModel, PromptTargetBatch, check_prompts};
use crate::layers::DropoutGenerator;
use crate::tokenizer::TokenBatch;

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
        let _dropping = self.adapter().map(|adapter| adapter.training_dropout(dropout.as_deref_mut()));
        let (prompts, targets) = (&batch.prompts, &batch.targets);
        // One look-up for both sides, so that the table gets one gradient.
        let mut ids = prompts.ids.clone();
        ids.extend(self.writer().inputs(targets));
        let embedded = self.embed(&ids)?;
        let read = embedded.narrow(0, 0, prompts.ids.len())?;
        let written = embedded.narrow(0, prompts.ids.len(), targets.ids.len())?;
        let states = self.encoder().forward(&read, &prompts.offsets, dropout.as_deref_mut())?;
        let memory = Memory { states, written: None };
        self.writer().hidden(&written, &memory, (&targets.offsets, &prompts.offsets), dropout)
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
        self.writer().logits(hidden)
    }

    fn decoder<'a>(&'a self, prompts: &TokenBatch) -> Result<Box<dyn Decoder + 'a>> {
        check_prompts(prompts, self.context_length())?;
        let states = match self.is_trainable() {
            true => {
                let embedded = self.embed(&prompts.ids)?.detach();
                self.encoder().detached()?.forward(&embedded, &prompts.offsets, None)?
            }
            false => self.encode(prompts)?,
        };
        let memory = Memory { states, written: None };
        Ok(Box::new(T5Decoder::new(self.writer(), self.is_trainable(), &memory, prompts)?))
    }
}
