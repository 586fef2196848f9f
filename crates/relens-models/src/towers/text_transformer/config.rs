//! The sizes and variants of a text transformer.

use crate::layers::{BlockNames, PreNormBlockConfig};
use crate::ops::{Activation, AttentionMask};

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

/// What a checkpoint calls the parts of a [`TextTransformer`](super::TextTransformer).
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
    pub(super) fn positions(&self) -> usize {
        let class_token = matches!(self.pooling, TextPooling::ClassToken { .. });
        self.context_length.saturating_add(usize::from(class_token))
    }

    /// The blocks' configuration.
    pub(super) fn block(&self) -> PreNormBlockConfig {
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
