//! A decoder as a language model: prompt and target are one sequence.

use candle_core::Tensor;

use super::checkpointing::LlamaPass;
use super::incremental::LlamaDecoder;
use super::model::LlamaModel;
use crate::language_model::{CheckpointedPass, Decoder, LanguageModel, PromptTargetBatch, check_prompts};
use crate::layers::DropoutGenerator;
use crate::tokenizer::TokenBatch;
use crate::{Result, ops};

impl LanguageModel for LlamaModel {
    fn width(&self) -> usize {
        self.config().width
    }

    fn vocabulary_size(&self) -> usize {
        self.config().vocabulary_size
    }

    fn context_length(&self) -> usize {
        self.config().context_length
    }

    fn most_target_tokens(&self, prompt_length: usize) -> usize {
        self.config().context_length.saturating_sub(prompt_length)
    }

    fn end_of_sequence(&self) -> &[u32] {
        &self.config().end_of_sequence
    }

    /// The family itself has no dropout; a generator drives that of an adapter.
    fn target_hidden(
        &self,
        batch: &PromptTargetBatch,
        dropout: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        batch.check(self.context_length(), |prompt| self.most_target_tokens(prompt))?;
        let (sequences, predicting) = as_sequences(batch);
        let _dropping = self.adapter().map(|adapter| adapter.training_dropout(dropout));
        ops::embedding(&self.hidden(&sequences)?, &predicting)
    }

    fn checkpointed_target_hidden<'a>(
        &'a self,
        batch: &PromptTargetBatch,
        dropout: Option<DropoutGenerator>,
    ) -> Result<Box<dyn CheckpointedPass + 'a>> {
        batch.check(self.context_length(), |prompt| self.most_target_tokens(prompt))?;
        let (sequences, predicting) = as_sequences(batch);
        Ok(Box::new(LlamaPass::run(self, sequences, &predicting, dropout)?))
    }
    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.scores(hidden)
    }

    fn decoder<'a>(&'a self, prompts: &TokenBatch) -> Result<Box<dyn Decoder + 'a>> {
        check_prompts(prompts, self.context_length())?;
        Ok(Box::new(LlamaDecoder::new(self, prompts)?))
    }
}

/// Prompt and target as one sequence, and the rows of the tokens that predict the targets.
fn as_sequences(batch: &PromptTargetBatch) -> (TokenBatch, Vec<u32>) {
    let mut sequences = TokenBatch::empty();
    let mut predicting = Vec::with_capacity(batch.targets.ids.len());
    for sample in 0..batch.len() {
        let prompt = batch.prompts.sequence(sample).unwrap_or_default();
        let target = batch.targets.sequence(sample).unwrap_or_default();
        // The last token of the prompt predicts the first of the target, and so on.
        let first = (sequences.ids.len() + prompt.len()).saturating_sub(1) as u32;
        predicting.extend(first..first + target.len() as u32);
        // Nothing follows the last token of a target.
        let fed = target.split_last().map_or(&[][..], |(_, before)| before);
        sequences.push(&[prompt, fed].concat());
    }
    (sequences, predicting)
}
