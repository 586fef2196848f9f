//! Copying: a last look at the prompt that adds the embedding of the token that it finds.
//!
//! What a rewriter writes is mostly in its prompt, and scores are products with the embedding table. So a state that
//! gets a token's embedding added scores this token highest, whichever it is: copying need not be learned token by
//! token. The idea is that of the pointer network (Vinyals et al., 2015) and of CopyNet (Gu et al., 2016), in the
//! space of embeddings in place of that of probabilities.

use candle_core::Tensor;

use crate::Result;
use crate::layers::Linear;
use crate::ops::{self, AttentionConfig, AttentionMask};
use crate::parameters::Parameters;

/// s + g(s) · attention(q(s), k(memory), embeddings of the prompt's tokens), with one head and a number g.
#[derive(Debug, Clone)]
pub(in crate::language_model) struct CopyAttention {
    query: Linear,
    key: Linear,
    gate: Linear,
}

impl CopyAttention {
    /// Takes `q`, `k` and `gate`.
    pub(super) fn load(parameters: &Parameters, width: usize) -> Result<Self> {
        Ok(Self {
            query: Linear::load_without_bias(&parameters.pp("q"), width, width)?,
            key: Linear::load_without_bias(&parameters.pp("k"), width, width)?,
            gate: Linear::load(&parameters.pp("gate"), width, 1)?,
        })
    }

    pub(super) fn detached(&self) -> Self {
        Self { query: self.query.detached(), key: self.key.detached(), gate: self.gate.detached() }
    }

    /// What is looked for in the prompt's states.
    pub(super) fn keys(&self, memory: &Tensor) -> Result<Tensor> {
        self.key.forward(memory)
    }

    /// # Shapes
    /// - `states`, output: `[target_tokens, d_model]`
    /// - `memory`, `written`: `[prompt_tokens, d_model]`
    pub(super) fn forward(
        &self,
        states: &Tensor,
        memory: &Tensor,
        written: &Tensor,
        (offsets, memory_offsets): (&[usize], &[usize]),
    ) -> Result<Tensor> {
        let keys = self.keys(memory)?;
        self.forward_mixed_by(states, |query, config| {
            ops::attention_separate(query, &keys, written, offsets, memory_offsets, config)
        })
    }

    /// As [`CopyAttention::forward`], with `mix` in the place of the attention: it gets the queries.
    pub(super) fn forward_mixed_by(
        &self,
        states: &Tensor,
        mix: impl FnOnce(&Tensor, &AttentionConfig) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let query = self.query.forward(states)?;
        let found = mix(&query, &AttentionConfig::new(1, AttentionMask::None))?;
        Ok((states + found.broadcast_mul(&self.gate.forward(states)?)?)?)
    }
}
