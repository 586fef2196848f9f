//! The decoder: token table, blocks, last norm, head.

use std::sync::Arc;

use candle_core::Tensor;

use super::block::{Angles, LlamaBlock};
use super::config::{LlamaConfig, OutputLayer, Positions};
use super::positions::{RotaryFrequencies, distance_bias};
use crate::layers::{Embedding, Linear, RmsNorm};
use crate::lora::LoraAdapter;
use crate::ops::{self, AttentionConfig};
use crate::parameters::Parameters;
use crate::tokenizer::TokenBatch;
use crate::{ModelError, Result};

/// A decoder of the Llama family.
#[derive(Debug, Clone)]
pub struct LlamaModel {
    config: LlamaConfig,
    pub(super) embedding: Embedding,
    pub(super) blocks: Vec<LlamaBlock>,
    pub(super) norm: RmsNorm,
    head: LlamaHead,
    angles: Option<RotaryFrequencies>,
    adapter: Option<Arc<LoraAdapter>>,
    trainable: bool,
}

impl LlamaModel {
    /// Builds the decoder from a checkpoint's tensors, `model.embed_tokens.weight` and so on.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, config: &LlamaConfig) -> Result<Self> {
        let inside = parameters.pp("model");
        let angles = match &config.positions {
            Positions::Rotary(rotary) => Some(RotaryFrequencies::new(rotary, config.head_dim)),
            Positions::Alibi => None,
        };
        let table = inside.pp("embed_tokens");
        Ok(Self {
            embedding: Embedding::load(&table, config.vocabulary_size, config.width)?,
            blocks: (0..config.layers)
                .map(|i| LlamaBlock::load(&inside.pp("layers").pp(i), config))
                .collect::<Result<_>>()?,
            norm: RmsNorm::load(&inside.pp("norm"), config.width, config.norm_eps)?,
            head: match config.head {
                // An adapter on the token table would otherwise change the logits, too.
                OutputLayer::Tied => LlamaHead::load(&table.without_adapter(), config, false)?,
                OutputLayer::Own => LlamaHead::load(&parameters.pp("lm_head"), config, false)?,
                OutputLayer::Normalized => LlamaHead::load(&parameters.pp("lm_head"), config, true)?,
            },
            angles,
            adapter: parameters.adapter().cloned(),
            trainable: parameters.hands_out_variables(),
            config: config.clone(),
        })
    }

    /// A copy that no gradient reaches, with the weights of this moment.
    pub(super) fn detached(&self) -> Result<Self> {
        Ok(Self {
            config: self.config.clone(),
            embedding: self.embedding.detached(),
            blocks: self.blocks.iter().map(LlamaBlock::detached).collect::<Result<_>>()?,
            norm: self.norm.detached(),
            head: self.head.detached(),
            angles: self.angles.clone(),
            adapter: self.adapter.clone(),
            trainable: false,
        })
    }

    /// Whether training moves any of the weights.
    pub(super) fn is_trainable(&self) -> bool {
        self.trainable
    }

    /// What drops inputs of the maps while training.
    pub(super) fn adapter(&self) -> Option<&LoraAdapter> {
        self.adapter.as_deref()
    }

    /// The sizes.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The hidden states of every token after the last norm.
    ///
    /// # Shapes
    /// - output: `[total_tokens, width]`
    ///
    /// # Errors
    /// When a sequence is longer than the context, or an id is outside of the vocabulary.
    pub fn hidden(&self, batch: &TokenBatch) -> Result<Tensor> {
        let positions = self.positions(&batch.offsets, |_| 0)?;
        let bias = self.distance_bias(batch.lengths().max().unwrap_or(0))?;
        self.run(&batch.ids, &positions, |_, projected, config| match &bias {
            None => ops::attention(projected, &batch.offsets, config),
            Some(bias) => ops::attention_with_bias(projected, bias, &batch.offsets, config),
        })
    }

    /// What is added to the scores for the distance, up to sequences of `reach` tokens, where positions enter so.
    pub(super) fn distance_bias(&self, reach: usize) -> Result<Option<Tensor>> {
        let alibi = self.config.positions == Positions::Alibi;
        alibi.then(|| distance_bias(self.config.heads, reach)).transpose()
    }

    /// The scores of all tokens.
    pub(super) fn scores(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head.forward(hidden)
    }

    /// The position of every token, the first of sequence `i` standing at `start(i)`.
    pub(super) fn positions(&self, offsets: &[usize], start: impl Fn(usize) -> usize) -> Result<Vec<usize>> {
        let mut positions = Vec::with_capacity(offsets.last().copied().unwrap_or(0));
        for (i, range) in offsets.windows(2).enumerate() {
            let (first, length) = (start(i), range[1].saturating_sub(range[0]));
            if first + length > self.config.context_length {
                return Err(ModelError::Sample {
                    sample: i,
                    expected: format!("at most {} tokens, the context's length", self.config.context_length),
                    found: format!("{} tokens", first + length),
                });
            }
            positions.extend(first..first + length);
        }
        Ok(positions)
    }

    /// The angles by which queries and keys at these positions are turned, where they are.
    pub(super) fn angles_of(&self, positions: &[usize]) -> Result<Angles> {
        self.angles.as_ref().map(|angles| angles.of_positions(positions)).transpose()
    }

    /// Runs all blocks; `mix` is the attention itself, given the block's number and its projected tokens.
    pub(super) fn run(
        &self,
        ids: &[u32],
        positions: &[usize],
        mut mix: impl FnMut(usize, &Tensor, &AttentionConfig) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let angles = self.angles_of(positions)?;
        let mut hidden = self.embedding.forward(ids)?;
        for (i, block) in self.blocks.iter().enumerate() {
            hidden = block.forward(&hidden, &angles, |projected, config| mix(i, projected, config))?;
        }
        self.norm.forward(&hidden)
    }
}

/// One row of a matrix for every token, multiplied with the hidden state.
#[derive(Debug, Clone)]
enum LlamaHead {
    /// The matrix as a linear map; rows that should be normalised are.
    Frozen(Linear),
    /// A variable, `[vocabulary, width]` as the token table has it, so that both can be one.
    Trained { table: Tensor, normalized: bool },
}

impl LlamaHead {
    /// Takes `weight`, of shape `[vocabulary, width]`.
    fn load(parameters: &Parameters, config: &LlamaConfig, normalized: bool) -> Result<Self> {
        let (rows, width) = (config.vocabulary_size, config.width);
        if parameters.is_trainable("weight") {
            return Ok(Self::Trained { table: parameters.tensor("weight", &[rows, width])?, normalized });
        }
        if !normalized {
            return Ok(Self::Frozen(Linear::load_without_bias(parameters, width, rows)?));
        }
        // Frozen rows are normalised once; while they are trained, at every use.
        let rows = ops::l2_normalize(&parameters.tensor("weight", &[rows, width])?)?;
        Ok(Self::Frozen(Linear::new(rows.t()?.contiguous()?, None)))
    }

    /// The same without gradients, as it is at this moment.
    fn detached(&self) -> Self {
        match self {
            Self::Frozen(linear) => Self::Frozen(linear.detached()),
            Self::Trained { table, normalized } => {
                Self::Trained { table: table.detach(), normalized: *normalized }
            }
        }
    }

    fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        match self {
            Self::Frozen(linear) => linear.forward(hidden),
            Self::Trained { table, normalized: false } => ops::linear_transposed(hidden, table),
            Self::Trained { table, normalized: true } => {
                ops::linear_transposed(hidden, &ops::l2_normalize(table)?)
            }
        }
    }
}
