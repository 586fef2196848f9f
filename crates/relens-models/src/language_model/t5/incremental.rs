//! Incremental decoding: the encoder runs once, keys and values of earlier tokens are kept.

use std::borrow::Cow;

use candle_core::Tensor;

use super::attention::RelativePositionBias;
use super::model::T5Model;
use crate::language_model::{Decoder, KeyValueCache, LanguageModel};
use crate::ops;
use crate::tokenizer::TokenBatch;
use crate::{ModelError, Result};

/// Tokens that the bias reaches at first; doubled when a row grows beyond it.
const FIRST_REACH: usize = 64;

/// A batch of rows that grow.
pub(super) struct T5Decoder<'a> {
    model: Cow<'a, T5Model>,
    /// Of every layer, what its cross-attention looks at: one row for every prompt.
    memory: Vec<KeyValueCache>,
    /// Of every layer, what its self-attention looks at: one row for every row.
    cache: Vec<KeyValueCache>,
    /// Which prompt a row belongs to.
    prompts: Vec<usize>,
    bias: Tensor,
    reach: usize,
}

impl<'a> T5Decoder<'a> {
    pub(super) fn new(model: &'a T5Model, prompts: &TokenBatch) -> Result<Self> {
        let model = if model.is_trainable() { Cow::Owned(model.detached()?) } else { Cow::Borrowed(model) };
        let encoded = model.encode(prompts)?;
        let layers = &model.decoder_stack().layers;
        let width = model.config.inner_width();
        let mut memory = Vec::with_capacity(layers.len());
        for layer in layers {
            let (keys, values) = layer.cross_attention.keys_and_values(&encoded)?;
            let mut cache = KeyValueCache::new(prompts.len(), width);
            // Keys and values of the prompt never change, so they are projected once; rows of one prompt share them.
            cache.append(&Tensor::cat(&[keys, values], 1)?, 0, &prompts.offsets)?;
            memory.push(cache);
        }
        let cache = vec![KeyValueCache::new(prompts.len(), width); layers.len()];
        let bias = model.decoder_stack().bias.by_distance(FIRST_REACH)?;
        let prompts = (0..prompts.len()).collect();
        Ok(Self { model, memory, cache, prompts, bias, reach: FIRST_REACH })
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
            let (fed, most) = (self.fed_to(row), self.model.context_length());
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
        &self.model.decoder_stack().bias
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
        Ok(self.model.config.decoder_start())
    }

    fn fed(&self, row: usize) -> usize {
        self.fed_to(row)
    }

    fn step(&mut self, tokens: &[&[u32]]) -> Result<Tensor> {
        let offsets = self.check(tokens)?;
        let stack = self.model.decoder_stack();
        let mut hidden = self.model.embed(&tokens.concat())?;
        let width = self.model.config.inner_width();
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
        self.model.logits(&stack.norm.forward(&hidden)?)
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
