//! The text transformer of the CLIP family (Radford et al., 2021): CLIP, CoCa, EVA-02-CLIP and SigLIP.
//!
//! Texts are packed. Under a causal mask nothing after the pooled token matters, so CLIP's padding is not computed.
//! SigLIP was trained without a mask on texts padded to the full context, and pools the last position: its tokenizer
//! has to pad.

mod class_token;
mod config;

use candle_core::Tensor;

pub use config::{TextPooling, TextTransformerConfig, TextTransformerNames};

use self::class_token::ClassTokenPlan;
use crate::layers::{Embedding, LayerNorm, PreNormBlock};
use crate::ops;
use crate::parameters::Parameters;
use crate::tokenizer::TokenBatch;
use crate::{ModelError, Result};

/// A text transformer with its pooling, without the projection to the shared space.
#[derive(Debug, Clone)]
pub struct TextTransformer {
    tokens: Embedding,
    positions: Tensor,
    class_token: Option<Tensor>,
    blocks: Vec<PreNormBlock>,
    norm_after: LayerNorm,
    pooling: TextPooling,
    context_length: usize,
    width: usize,
}

impl TextTransformer {
    /// Takes the tensors that `config.names` lists.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, config: &TextTransformerConfig) -> Result<Self> {
        let (width, names) = (config.width, config.names);
        let class_token = match config.pooling {
            TextPooling::ClassToken { .. } => Some(parameters.tensor(names.class_token, &[width])?),
            _ => None,
        };
        let blocks = parameters.pp(names.blocks);
        Ok(Self {
            tokens: Embedding::load(&parameters.pp(names.tokens), config.vocabulary_size, width)?,
            positions: parameters.tensor(names.positions, &[config.positions(), width])?,
            class_token,
            blocks: (0..config.layers)
                .map(|layer| PreNormBlock::load(&blocks.pp(layer), &config.block()))
                .collect::<Result<_>>()?,
            norm_after: LayerNorm::load(&parameters.pp(names.norm_after), width, config.eps)?,
            pooling: config.pooling,
            context_length: config.context_length,
            width,
        })
    }

    /// How many features a text has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pooled features.
    ///
    /// # Shapes
    /// - output: `[texts, width()]`
    ///
    /// # Errors
    /// When a text is empty or longer than the context, an id is outside of the vocabulary, or a text is shorter
    /// than the context and the model pools its last position.
    pub fn forward(&self, batch: &TokenBatch) -> Result<Tensor> {
        self.check_lengths(batch)?;
        if let (TextPooling::ClassToken { padding }, Some(class_token)) = (self.pooling, &self.class_token) {
            return self.forward_class_token(batch, padding, class_token);
        }
        let positions: Vec<u32> =
            batch.offsets.windows(2).flat_map(|text| 0..text[1].saturating_sub(text[0]) as u32).collect();
        let mut hidden = (self.tokens.forward(&batch.ids)? + ops::embedding(&self.positions, &positions)?)?;
        for block in &self.blocks {
            hidden = block.forward(&hidden, &batch.offsets)?;
        }
        // The norm works row by row, so it comes after the pooling, on far fewer rows.
        self.norm_after.forward(&ops::embedding(&hidden, &self.pooled_rows(batch))?)
    }

    fn forward_class_token(&self, batch: &TokenBatch, padding: u32, class_token: &Tensor) -> Result<Tensor> {
        let plan = ClassTokenPlan::new(batch, self.context_length, padding);
        let class_tokens = ops::embedding(&class_token.unsqueeze(0)?, &vec![0; batch.len()])?;
        let tokens = Tensor::cat(&[&self.tokens.forward(&plan.ids)?, &class_tokens], 0)?;
        let mut hidden = (tokens + ops::embedding(&self.positions, &plan.positions)?)?;
        for block in &self.blocks {
            hidden = block.forward_mixed_by(&hidden, |qkv, config| plan.attend(qkv, config))?;
        }
        self.norm_after.forward(&hidden.narrow(0, plan.ids.len(), batch.len())?)
    }

    /// The row of each text that is its embedding.
    fn pooled_rows(&self, batch: &TokenBatch) -> Vec<u32> {
        let position = |text: &[u32]| match self.pooling {
            TextPooling::HighestId => {
                let highest = text.iter().max();
                text.iter().position(|id| Some(id) == highest).unwrap_or(0)
            }
            TextPooling::Id(id) => text.iter().position(|&found| found == id).unwrap_or(0),
            TextPooling::LastOfContext => text.len().saturating_sub(1),
            TextPooling::First | TextPooling::ClassToken { .. } => 0,
        };
        let texts = batch.offsets.iter().enumerate().take(batch.len());
        texts.map(|(i, start)| (start + position(batch.sequence(i).unwrap_or_default())) as u32).collect()
    }

    fn check_lengths(&self, batch: &TokenBatch) -> Result<()> {
        let shortest = if self.pooling == TextPooling::LastOfContext { self.context_length } else { 1 };
        for text in batch.offsets.windows(2) {
            let length = text[1].saturating_sub(text[0]);
            if !(shortest..=self.context_length).contains(&length) {
                return Err(ModelError::Argument {
                    operation: "TextTransformer",
                    expected: format!("{shortest} to {} tokens per text", self.context_length),
                    found: format!("{length} tokens"),
                });
            }
        }
        Ok(())
    }
}
