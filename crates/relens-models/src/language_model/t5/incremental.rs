//! Incremental decoding: the encoder runs once, keys and values of earlier tokens are kept.

use std::borrow::Cow;

use candle_core::Tensor;

use super::attention::RelativePositionBias;
use super::writer::{Memory, Writer};
use crate::language_model::{Decoder, KeyValueCache};
use crate::ops;
use crate::tokenizer::TokenBatch;
use crate::{ModelError, Result};

/// Tokens that the bias reaches at first; doubled when a row grows beyond it.
const FIRST_REACH: usize = 64;

/// A batch of rows that grow.
pub(in crate::language_model) struct T5Decoder<'a> {
    writer: Cow<'a, Writer>,
    /// Of every layer, what its cross-attention looks at: one row for every prompt.
    memory: Vec<KeyValueCache>,
    /// What copying looks at: one row for every prompt.
    copied: Option<KeyValueCache>,
    /// Of every layer, what its self-attention looks at: one row for every row.
    cache: Vec<KeyValueCache>,
    /// Which prompt a row belongs to.
    prompts: Vec<usize>,
    bias: Tensor,
    reach: usize,
}

impl<'a> T5Decoder<'a> {
    /// Stands at the beginning of a row for every prompt; a copy of a writer in `training` keeps the weights of this
    /// moment.
    pub(in crate::language_model) fn new(
        writer: &'a Writer,
        training: bool,
        memory: &Memory,
        prompts: &TokenBatch,
    ) -> Result<Self> {
        let writer = if training { Cow::Owned(writer.detached()?) } else { Cow::Borrowed(writer) };
        let layers = &writer.stack().layers;
        let width = writer.config().inner_width();
        let kept = |keys: &Tensor, values: &Tensor, width: usize| {
            let mut cache = KeyValueCache::new(prompts.len(), width);
            // Keys and values of the prompt never change, so they are projected once; rows of one prompt share them.
            cache.append(&Tensor::cat(&[keys, values], 1)?, 0, &prompts.offsets)?;
            Ok::<_, ModelError>(cache)
        };
        let mut memories = Vec::with_capacity(layers.len());
        for layer in layers {
            let (keys, values) = layer.cross_attention.keys_and_values(&memory.states)?;
            memories.push(kept(&keys, &values, width)?);
        }
        let copied = match (writer.copying(), &memory.written) {
            (Some(copying), Some(written)) => {
                Some(kept(&copying.keys(&memory.states)?, written, writer.config().d_model)?)
            }
            _ => None,
        };
        let cache = vec![KeyValueCache::new(prompts.len(), width); layers.len()];
        let bias = writer.stack().bias.by_distance(FIRST_REACH)?;
        let prompts = (0..prompts.len()).collect();
        Ok(Self { writer, memory: memories, copied, cache, prompts, bias, reach: FIRST_REACH })
    }

    fn fed_to(&self, row: usize) -> usize {
        self.cache.first().map_or(0, |cache| cache.length(row))
    }

    /// Refuses tokens that do not fit, and gives the rows' offsets.
    fn check(&mut self, tokens: &[&[u32]]) -> Result<Vec<usize>> {
        if tokens.len() != self.prompts.len() || tokens.iter().any(|tokens| tokens.is_empty()) {
            return Err(ModelError::Argument {
                operation: "T5Decoder::step",
                expected: format!("at least one token for each of {} rows", self.prompts.len()),
                found: format!("{:?} tokens", tokens.iter().map(|tokens| tokens.len()).collect::<Vec<_>>()),
            });
        }
        let mut offsets = vec![0];
        let mut longest = 0;
        for (row, tokens) in tokens.iter().enumerate() {
            let (fed, most) = (self.fed_to(row), self.writer.config().n_positions);
            if fed + tokens.len() > most {
                return Err(ModelError::Sample {
                    sample: self.prompts[row],
                    expected: format!("at most {most} tokens after the prompt"),
                    found: format!("{} tokens", fed + tokens.len()),
                });
            }
            longest = longest.max(fed + tokens.len());
            offsets.push(offsets[row] + tokens.len());
        }
        if longest > self.reach {
            self.reach = longest.next_power_of_two();
            self.bias = self.relative_position_bias().by_distance(self.reach)?;
        }
        Ok(offsets)
    }

    fn relative_position_bias(&self) -> &RelativePositionBias {
        &self.writer.stack().bias
    }

    fn check_row(&self, row: usize) -> Result<()> {
        if row < self.prompts.len() {
            return Ok(());
        }
        Err(ModelError::Argument {
            operation: "T5Decoder",
            expected: format!("one of {} rows", self.prompts.len()),
            found: format!("row {row}"),
        })
    }
}

impl Decoder for T5Decoder<'_> {
    fn rows(&self) -> usize {
        self.prompts.len()
    }

    fn first_token(&self, row: usize) -> Result<u32> {
        self.check_row(row)?;
        Ok(self.writer.config().decoder_start())
    }

    fn fed(&self, row: usize) -> usize {
        self.fed_to(row)
    }

    fn step(&mut self, tokens: &[&[u32]]) -> Result<Tensor> {
        let offsets = self.check(tokens)?;
        let stack = self.writer.stack();
        let mut hidden = self.writer.embed(&tokens.concat())?;
        let width = self.writer.config().inner_width();
        for ((layer, cache), memory) in stack.layers.iter().zip(&mut self.cache).zip(&self.memory) {
            hidden = layer.self_attention.forward_mixed_by(&hidden, None, |qkv, config| {
                cache.append(qkv, width, &offsets)?;
                let query = qkv.narrow(1, 0, width)?;
                ops::cached_attention(&query, &offsets, &cache.sequences(), Some(&self.bias), config)
            })?;
            hidden = layer.cross_attention.forward_mixed_by(&hidden, None, |query, config| {
                let rows = memory.sequences_of(&self.prompts);
                ops::cached_attention(query, &offsets, &rows, None, config)
            })?;
            hidden = layer.feed_forward.forward(&hidden, None)?;
        }
        let mut states = stack.norm.forward(&hidden)?;
        if let (Some(copying), Some(copied)) = (self.writer.copying(), &self.copied) {
            states = copying.forward_mixed_by(&states, |query, config| {
                ops::cached_attention(query, &offsets, &copied.sequences_of(&self.prompts), None, config)
            })?;
        }
        self.writer.logits(&states)
    }

    fn reorder(&mut self, rows: &[usize]) -> Result<()> {
        rows.iter().try_for_each(|&row| self.check_row(row))?;
        for cache in &mut self.cache {
            cache.reorder(rows);
        }
        self.prompts = rows.iter().map(|&row| self.prompts[row]).collect();
        Ok(())
    }

    fn truncate(&mut self, row: usize, length: usize) -> Result<()> {
        self.check_row(row)?;
        if length > self.fed_to(row) {
            return Err(ModelError::Argument {
                operation: "T5Decoder::truncate",
                expected: format!("at most the {} tokens that were fed", self.fed_to(row)),
                found: format!("{length}"),
            });
        }
        for cache in &mut self.cache {
            cache.truncate(row, length);
        }
        Ok(())
    }
}
