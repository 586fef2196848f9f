//! The text transformer of the CLIP family (Radford et al., 2021): CLIP, CoCa, EVA-02-CLIP and SigLIP.
//!
//! Texts are packed. Under a causal mask nothing after the pooled token matters, so CLIP's padding is not computed.
//! SigLIP was trained without a mask on texts padded to the full context, and pools the last position: its tokenizer
//! has to pad. [`TextTransformerConfig`] holds the sizes and variants.

mod class_token;

use candle_core::Tensor;

use self::class_token::ClassTokenPlan;
use crate::layers::{BlockNames, Embedding, LayerNorm, PreNormBlock, PreNormBlockConfig};
use crate::ops::{Activation, AttentionMask};
use crate::parameters::Parameters;
use crate::tokenizer::TokenBatch;
use crate::{ModelError, Result, ops};

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

/// The sizes and variants of a text transformer.
#[derive(Debug, Clone, Copy)]
pub struct TextTransformerConfig {
    /// Rows of the token table.
    pub vocabulary_size: usize,
    /// Rows of the position table without the class token's: the longest text.
    pub context_length: usize,
    /// Width of the hidden states.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads; a divisor of `width`.
    pub heads: usize,
    /// Width inside the feed-forward parts.
    pub feed_forward_width: usize,
    /// The feed-forward parts' activation.
    pub activation: Activation,
    /// Added to the variance by the norms.
    pub eps: f64,
    /// Whether every part's output is multiplied by a learned vector.
    pub layer_scale: bool,
    /// Which tokens a token may look at.
    pub mask: AttentionMask,
    /// How the tokens become one vector.
    pub pooling: TextPooling,
    /// What the checkpoint calls the tensors.
    pub names: &'static TextTransformerNames,
}

/// How the tokens of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextPooling {
    /// The first token of the highest id, which is CLIP's end of text.
    HighestId,
    /// The first token of this id, or the first of all if there is none.
    Id(u32),
    /// The first token.
    First,
    /// The last token; texts must be padded to the context length.
    LastOfContext,
    /// CoCa's class token, appended after the context.
    ClassToken {
        /// The id of padding, which no token sees but the first after the text.
        padding: u32,
    },
}

/// What a checkpoint calls the parts of a [`TextTransformer`](self::TextTransformer).
#[derive(Debug, PartialEq, Eq)]
pub struct TextTransformerNames {
    /// The token table, without `.weight`.
    pub tokens: &'static str,
    /// The position table, in full.
    pub positions: &'static str,
    /// CoCa's class token.
    pub class_token: &'static str,
    /// The list of blocks.
    pub blocks: &'static str,
    /// Within a block.
    pub block: BlockNames,
    /// The norm after the blocks.
    pub norm_after: &'static str,
}

impl TextTransformerNames {
    /// open_clip's own tower, and OpenAI's before it.
    pub const OPEN_CLIP: Self = Self {
        tokens: "token_embedding",
        positions: "positional_embedding",
        class_token: "cls_emb",
        blocks: "transformer.resblocks",
        block: BlockNames::OPEN_CLIP,
        norm_after: "ln_final",
    };
    /// The CLIP family in Hugging Face transformers.
    pub const HUGGING_FACE: Self = Self {
        tokens: "embeddings.token_embedding",
        positions: "embeddings.position_embedding.weight",
        class_token: "embeddings.class_embedding",
        blocks: "encoder.layers",
        block: BlockNames::HUGGING_FACE,
        norm_after: "final_layer_norm",
    };
}

impl TextTransformerConfig {
    /// Rows of the position table.
    fn positions(&self) -> usize {
        let class_token = matches!(self.pooling, TextPooling::ClassToken { .. });
        self.context_length.saturating_add(usize::from(class_token))
    }

    /// The blocks' configuration.
    fn block(&self) -> PreNormBlockConfig {
        PreNormBlockConfig {
            width: self.width,
            heads: self.heads,
            feed_forward_width: self.feed_forward_width,
            activation: self.activation,
            mask: self.mask,
            eps: self.eps,
            layer_scale: self.layer_scale,
            names: &self.names.block,
        }
    }
}
