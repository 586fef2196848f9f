//! Incremental decoding: keys and values of earlier tokens are kept.

use std::borrow::Cow;

use candle_core::Tensor;

use super::model::LlamaModel;
use crate::language_model::{Decoder, KeyValueCache};
use crate::ops;
use crate::tokenizer::TokenBatch;
use crate::{ModelError, Result};

/// Tokens that the bias of ALiBi reaches at first; doubled when a row grows beyond it.
const FIRST_REACH: usize = 64;

/// A batch of rows that grow.
pub(super) struct LlamaDecoder<'a> {
    model: Cow<'a, LlamaModel>,
    /// One for every block.
    caches: Vec<KeyValueCache>,
    rows: Vec<DecodingRow>,
    bias: Option<Tensor>,
    reach: usize,
}

#[derive(Debug, Clone, Copy)]
struct DecodingRow {
    last_of_prompt: u32,
    /// Tokens of the prompt before its last, which were read at the start.
    read: usize,
}

impl<'a> LlamaDecoder<'a> {
    /// Reads all but the last token of every prompt.
    pub(super) fn new(model: &'a LlamaModel, prompts: &TokenBatch) -> Result<Self> {
        // A trainable model records a tape at every step, and joins its projections anew: decoding uses a copy that
        // does neither.
        let model = if model.is_trainable() { Cow::Owned(model.detached()?) } else { Cow::Borrowed(model) };
        let mut rows = Vec::with_capacity(prompts.len());
        let mut before = TokenBatch::empty();
        for prompt in (0..prompts.len()).filter_map(|i| prompts.sequence(i)) {
            // The last token is kept back: it is fed in the first step, which so gives the scores of the first new
            // token.
            if let Some((&last_of_prompt, read)) = prompt.split_last() {
                before.push(read);
                rows.push(DecodingRow { last_of_prompt, read: read.len() });
            }
        }
        let config = model.config();
        let caches = vec![KeyValueCache::new(rows.len(), config.key_width()); config.layers];
        let bias = model.distance_bias(FIRST_REACH)?;
        let mut decoder = Self { model, caches, rows, bias, reach: FIRST_REACH };
        decoder.read(&before)?;
        Ok(decoder)
    }

    /// Fills the empty caches.
    fn read(&mut self, batch: &TokenBatch) -> Result<()> {
        if batch.ids.is_empty() {
            return Ok(());
        }
        let positions = self.model.positions(&batch.offsets, |_| 0)?;
        let bias = self.model.distance_bias(batch.lengths().max().unwrap_or(0))?;
        let (caches, query_width) = (&mut self.caches, self.model.config().query_width());
        self.model.run(&batch.ids, &positions, |block, projected, config| {
            if let Some(cache) = caches.get_mut(block) {
                cache.append(projected, query_width, &batch.offsets)?;
            }
            match &bias {
                None => ops::attention(projected, &batch.offsets, config),
                Some(bias) => ops::attention_with_bias(projected, bias, &batch.offsets, config),
            }
        })?;
        Ok(())
    }

    /// Tokens that were read and fed.
    fn length(&self, row: usize) -> usize {
        self.caches.first().map_or(0, |cache| cache.length(row))
    }

    fn row(&self, row: usize) -> Result<DecodingRow> {
        self.rows.get(row).copied().ok_or_else(|| ModelError::Argument {
            operation: "LlamaDecoder",
            expected: format!("one of {} rows", self.rows.len()),
            found: format!("row {row}"),
        })
    }
}

impl Decoder for LlamaDecoder<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn first_token(&self, row: usize) -> Result<u32> {
        Ok(self.row(row)?.last_of_prompt)
    }

    fn fed(&self, row: usize) -> usize {
        self.rows.get(row).map_or(0, |of_prompt| self.length(row).saturating_sub(of_prompt.read))
    }

    fn step(&mut self, tokens: &[&[u32]]) -> Result<Tensor> {
        if tokens.len() != self.rows.len() || tokens.iter().any(|tokens| tokens.is_empty()) {
            return Err(ModelError::Argument {
                operation: "LlamaDecoder::step",
                expected: format!("at least one token for each of {} rows", self.rows.len()),
                found: format!("{:?} tokens", tokens.iter().map(|tokens| tokens.len()).collect::<Vec<_>>()),
            });
        }
        let batch = TokenBatch::from_sequences(tokens);
        let positions = self.model.positions(&batch.offsets, |row| self.length(row))?;
        let longest = positions.iter().max().map_or(0, |last| last + 1);
        if self.bias.is_some() && longest > self.reach {
            // Doubling keeps the cost of new tables below that of the tokens.
            self.reach = longest.next_power_of_two();
            self.bias = self.model.distance_bias(self.reach)?;
        }
        let (caches, bias) = (&mut self.caches, self.bias.as_ref());
        let query_width = self.model.config().query_width();
        let hidden = self.model.run(&batch.ids, &positions, |block, projected, config| {
            let Some(cache) = caches.get_mut(block) else { return Ok(projected.clone()) };
            cache.append(projected, query_width, &batch.offsets)?;
            // Keys were rotated before they were kept, so earlier positions are never computed again.
            let query = projected.narrow(1, 0, query_width)?;
            ops::cached_attention(&query, &batch.offsets, &cache.sequences(), bias, config)
        })?;
        self.model.scores(&hidden)
    }

    fn reorder(&mut self, rows: &[usize]) -> Result<()> {
        self.rows = rows.iter().map(|&row| self.row(row)).collect::<Result<_>>()?;
        for cache in &mut self.caches {
            cache.reorder(rows);
        }
        Ok(())
    }

    fn truncate(&mut self, row: usize, length: usize) -> Result<()> {
        let kept = self.row(row)?.read + length;
        if length > self.fed(row) {
            return Err(ModelError::Argument {
                operation: "LlamaDecoder::truncate",
                expected: format!("at most the {} tokens that were fed", self.fed(row)),
                found: format!("{length}"),
            });
        }
        for cache in &mut self.caches {
            cache.truncate(row, kept);
        }
        Ok(())
    }
}
