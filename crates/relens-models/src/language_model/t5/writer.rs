//! What writes: the embedding table, the decoder and the output layer, whatever read the prompt.

use candle_core::Tensor;

use super::T5Config;
use super::copying::CopyAttention;
use super::decoder::DecoderStack;
use crate::Result;
use crate::layers::{DropoutGenerator, Embedding, Linear};
use crate::ops;
use crate::parameters::Parameters;
use crate::tokenizer::TokenBatch;

/// What an encoder made of the prompts.
#[derive(Debug, Clone)]
pub(in crate::language_model) struct Memory {
    /// What the decoder attends to, `[prompt_tokens, d_model]`.
    pub(in crate::language_model) states: Tensor,
    /// The embeddings of the prompts' tokens in the decoder's own table, of the same shape; zero for a token that
    /// cannot be written. There where a [`CopyAttention`] reads them.
    pub(in crate::language_model) written: Option<Tensor>,
}

/// The half of an encoder-decoder that writes.
#[derive(Debug, Clone)]
pub(in crate::language_model) struct Writer {
    config: T5Config,
    embedding: Embedding,
    stack: DecoderStack,
    copying: Option<CopyAttention>,
    head: Head,
}

/// What turns hidden states into scores of tokens.
#[derive(Debug, Clone)]
enum Head {
    /// A map of its own, or a frozen copy of the embedding table, turned round.
    Own(Linear),
    /// The embedding table itself, `[vocab_size, d_model]`, while it is trained.
    Shared(Tensor),
}

impl Head {
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

impl Writer {
    /// Takes `shared`, `decoder.*`, `copying.*` if `copies`, and `lm_head` where the configuration has one.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub(in crate::language_model) fn load(
        parameters: &Parameters,
        config: &T5Config,
        copies: bool,
    ) -> Result<Self> {
        let copying = || CopyAttention::load(&parameters.pp("copying"), config.d_model);
        Ok(Self {
            config: config.clone(),
            embedding: Embedding::load(&parameters.pp("shared"), config.vocab_size, config.d_model)?,
            stack: DecoderStack::load(&parameters.pp("decoder"), config)?,
            copying: copies.then(copying).transpose()?,
            head: Head::load(parameters, config)?,
        })
    }

    /// A copy that no gradient reaches, with the weights of this moment.
    pub(in crate::language_model) fn detached(&self) -> Result<Self> {
        Ok(Self {
            config: self.config.clone(),
            embedding: self.embedding.detached(),
            stack: self.stack.detached()?,
            copying: self.copying.as_ref().map(CopyAttention::detached),
            head: self.head.detached()?,
        })
    }

    pub(in crate::language_model) fn config(&self) -> &T5Config {
        &self.config
    }

    pub(in crate::language_model) fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.embedding.forward(ids)
    }

    pub(super) fn stack(&self) -> &DecoderStack {
        &self.stack
    }

    pub(super) fn copying(&self) -> Option<&CopyAttention> {
        self.copying.as_ref()
    }

    /// What the decoder reads to predict the targets: they, moved by one, after the token that starts it.
    pub(in crate::language_model) fn inputs(&self, targets: &TokenBatch) -> Vec<u32> {
        let mut ids = Vec::with_capacity(targets.ids.len());
        for target in (0..targets.len()).filter_map(|i| targets.sequence(i)) {
            if let Some((_, before)) = target.split_last() {
                ids.push(self.config.decoder_start());
                ids.extend_from_slice(before);
            }
        }
        ids
    }

    /// `[target_tokens, d_model]` of embedded inputs to the states that predict the next tokens.
    pub(in crate::language_model) fn hidden(
        &self,
        embedded: &Tensor,
        memory: &Memory,
        offsets: (&[usize], &[usize]),
        generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        let states = self.stack.forward(embedded, &memory.states, offsets, generator)?;
        match (&self.copying, &memory.written) {
            (Some(copying), Some(written)) => copying.forward(&states, &memory.states, written, offsets),
            _ => Ok(states),
        }
    }

    /// The scores of all tokens, `[rows, vocab_size]`.
    pub(in crate::language_model) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let scaled = match self.config.output_scale() {
            Some(scale) => (hidden * scale)?,
            None => hidden.clone(),
        };
        match &self.head {
            Head::Own(linear) => linear.forward(&scaled),
            Head::Shared(table) => ops::linear_transposed(&scaled, table),
        }
    }
}
