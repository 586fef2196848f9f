//! What every language model can do, whatever its family: learn to continue prompts, and continue them.
//!
//! [`LanguageModel`] has two ways in. *Teacher forced*, [`LanguageModel::target_hidden`] runs over given targets at
//! once and gives the state that predicts each of their tokens; with [`LanguageModel::logits`] or
//! [`LanguageModel::target_log_probs`] on top it is what training differentiates. *Incremental*,
//! [`LanguageModel::decoder`] starts a [`Decoder`] that takes a few tokens of every row at a time and keeps what it
//! knows about earlier ones; `generation` drives it.

mod batch;
pub mod bert_t5;
mod checkpointing;
mod decoder;
pub mod generation;
pub mod gguf;
pub mod llama;
mod opening;
pub mod t5;

use candle_core::Tensor;

pub use batch::PromptTargetBatch;
pub(crate) use batch::check_prompts;
pub use checkpointing::CheckpointedPass;
pub(crate) use checkpointing::{WayBack, missing_gradient};
pub use decoder::{Decoder, KeyValueCache};
pub use opening::{load, open, open_with_storage};

use crate::layers::DropoutGenerator;
use crate::tokenizer::TokenBatch;
use crate::{Result, ops};

/// A network that gives probabilities to continuations of prompts.
///
/// An encoder-decoder reads the prompt in its encoder; a decoder-only network reads prompt and continuation as one
/// sequence. Neither difference shows here.
pub trait LanguageModel: Send + Sync {
    /// Width of the hidden states.
    fn width(&self) -> usize;

    /// The number of token ids that the model knows.
    fn vocabulary_size(&self) -> usize;

    /// The most tokens that the model reads: of a prompt, and with a decoder-only network of prompt and target
    /// together.
    fn context_length(&self) -> usize;

    /// How many target tokens may follow a prompt of this length.
    fn most_target_tokens(&self, prompt_length: usize) -> usize;

    /// The ids that end a sequence; at least one.
    fn end_of_sequence(&self) -> &[u32];

    /// The hidden state that predicts each target token, given the prompt and the targets before it. Drops what the
    /// configuration says if a generator is given.
    ///
    /// # Shapes
    /// - output: `[total_target_tokens, width]`
    ///
    /// # Errors
    /// A sample whose prompt is empty or which does not fit the context is named
    /// ([`ModelError::Sample`](crate::ModelError::Sample)); an id is outside of the vocabulary.
    fn target_hidden(
        &self,
        batch: &PromptTargetBatch,
        dropout: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor>;

    /// As [`LanguageModel::target_hidden`] for training with little memory: what happens inside the layers is not kept
    /// for the way back, but computed again.
    ///
    /// # Errors
    /// As [`LanguageModel::target_hidden`].
    fn checkpointed_target_hidden<'a>(
        &'a self,
        batch: &PromptTargetBatch,
        dropout: Option<DropoutGenerator>,
    ) -> Result<Box<dyn CheckpointedPass + 'a>>;

    /// The scores of all tokens, before softmax.
    ///
    /// # Shapes
    /// - `hidden`: `[rows, width]`
    /// - output: `[rows, vocabulary]`
    ///
    /// # Errors
    /// When the shapes do not fit.
    fn logits(&self, hidden: &Tensor) -> Result<Tensor>;

    /// log π(y_t | x, y_<t) of every target token.
    ///
    /// # Shapes
    /// - output: `[total_target_tokens]`
    ///
    /// # Errors
    /// As [`LanguageModel::target_hidden`].
    fn target_log_probs(
        &self,
        batch: &PromptTargetBatch,
        dropout: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        let logits = self.logits(&self.target_hidden(batch, dropout)?)?;
        ops::target_log_probs(&logits, &batch.targets.ids)
    }

    /// Reads the prompts and stands ready to continue each of them: one row for every prompt.
    ///
    /// The weights are those of this moment; no gradient is recorded.
    ///
    /// # Errors
    /// As [`LanguageModel::target_hidden`].
    fn decoder<'a>(&'a self, prompts: &TokenBatch) -> Result<Box<dyn Decoder + 'a>>;
}
