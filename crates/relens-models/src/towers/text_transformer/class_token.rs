//! CoCa's text side (Yu et al., 2022), as open_clip trained it: a class token after the context gathers the text.
//!
//! open_clip masks padding by keys, and its mask is one place late: the key at position j is seen if the token at
//! j − 1 is not padding. So a token is hidden behind every id that equals the padding's, the first padding after the
//! text is seen, and the class token sees itself only if the text fills the context. Weights were trained with this
//! mask, so it is part of the model. Nothing looks at a hidden position, so hidden positions are not computed at all.

use candle_core::Tensor;

use crate::Result;
use crate::ops::{AttentionConfig, AttentionMask, attention, attention_separate};
use crate::tokenizer::TokenBatch;

/// Which tokens are computed, at which positions, and who is seen by the class tokens.
#[derive(Debug)]
pub(super) struct ClassTokenPlan {
    /// Ids of the visible tokens of all texts.
    pub(super) ids: Vec<u32>,
    /// Their positions; then the class tokens' positions, one for each text.
    pub(super) positions: Vec<u32>,
    /// Where each text's visible tokens begin.
    offsets: Vec<usize>,
    /// The rows that the class tokens see, among tokens and class tokens.
    seen: Vec<u32>,
    /// Where the rows of each class token begin.
    seen_offsets: Vec<usize>,
}

impl ClassTokenPlan {
    pub(super) fn new(batch: &TokenBatch, context_length: usize, padding: u32) -> Self {
        let mut plan = Self {
            ids: Vec::with_capacity(batch.ids.len()),
            positions: Vec::with_capacity(batch.ids.len()),
            offsets: vec![0],
            seen: Vec::new(),
            seen_offsets: vec![0],
        };
        for i in 0..batch.len() {
            let text = batch.sequence(i).unwrap_or_default();
            let id = |position: usize| text.get(position).copied().unwrap_or(padding);
            // One position beyond the text: the first padding is seen, and what comes after it is not computed.
            for position in 0..context_length.min(text.len() + 1) {
                // The mask that came one place late.
                if position == 0 || id(position - 1) != padding {
                    plan.ids.push(id(position));
                    plan.positions.push(position as u32);
                }
            }
            plan.offsets.push(plan.ids.len());
        }
        let tokens = plan.ids.len();
        for (i, range) in plan.offsets.windows(2).enumerate() {
            plan.seen.extend((range[0]..range[1]).map(|row| row as u32));
            let last = context_length.checked_sub(1).and_then(|last| batch.sequence(i)?.get(last));
            if last.is_some_and(|&id| id != padding) {
                plan.seen.push((tokens + i) as u32);
            }
            plan.seen_offsets.push(plan.seen.len());
        }
        // The class token stands after the whole context, however short the text is.
        plan.positions.extend(std::iter::repeat_n(context_length as u32, batch.len()));
        plan
    }

    /// Attention of the tokens, causal within each text, then of the class tokens: `[tokens + texts, 3·width]` to
    /// `[tokens + texts, width]`.
    pub(super) fn attend(&self, qkv: &Tensor, config: &AttentionConfig) -> Result<Tensor> {
        let (rows, width) = qkv.dims2()?;
        let (tokens, width) = (self.ids.len(), width / 3);
        let texts = rows - tokens;
        // Tokens never see a class token, so they are attended to as an ordinary packed batch.
        let attended = attention(&qkv.narrow(0, 0, tokens)?, &self.offsets, config)?;
        let seen = Tensor::from_slice(&self.seen, self.seen.len(), qkv.device())?;
        let keys_and_values = qkv.narrow(1, width, 2 * width)?.contiguous()?.index_select(&seen, 0)?;
        let gathered = attention_separate(
            &qkv.narrow(0, tokens, texts)?.narrow(1, 0, width)?,
            &keys_and_values.narrow(1, 0, width)?,
            &keys_and_values.narrow(1, width, width)?,
            &(0..=texts).collect::<Vec<_>>(),
            &self.seen_offsets,
            &AttentionConfig { mask: AttentionMask::None, ..*config },
        )?;
        Ok(Tensor::cat(&[&attended, &gathered], 0)?)
    }
}
