//! The sizes and variants of a vision transformer, and what the checkpoints of different libraries call its parts.

use crate::layers::{BlockNames, PreNormBlockConfig};
use crate::ops::{Activation, AttentionMask};

/// The sizes and variants of a vision transformer.
#[derive(Debug, Clone, Copy)]
pub struct VisionTransformerConfig {
    /// Side of the square picture in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
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
    /// Whether a class token goes before the patches.
    pub class_token: bool,
    /// Whether the patch embedding has a bias.
    pub patch_bias: bool,
    /// Whether there is a norm before the blocks.
    pub norm_before: bool,
    /// Whether every part's output is multiplied by a learned vector.
    pub layer_scale: bool,
    /// How the tokens become one vector.
    pub pooling: ImagePooling,
    /// What the checkpoint calls the tensors.
    pub names: &'static VisionTransformerNames,
}

/// How the tokens of a picture become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePooling {
    /// The class token, normalised.
    ClassToken,
    /// The mean of the patches without the class token, normalised before (`norm_first`) or after the mean.
    AveragePatches {
        /// Whether the tokens are normalised, or their mean.
        norm_first: bool,
    },
    /// SigLIP's attention-pooling head on all normalised tokens.
    AttentionHead,
    /// CoCa's attentional pooler, then the norm.
    Queries {
        /// Heads of the pooler; a divisor of `width`.
        heads: usize,
        /// How many queries there are; the first makes the embedding.
        queries: usize,
        /// Width of the queries and of the result.
        width: usize,
    },
}

impl VisionTransformerConfig {
    /// How many tokens a picture has.
    pub fn tokens(&self) -> usize {
        let side = self.image_size.checked_div(self.patch_size).unwrap_or(0);
        side.saturating_mul(side).saturating_add(usize::from(self.class_token))
    }

    /// The blocks' configuration.
    pub(super) fn block(&self) -> PreNormBlockConfig {
        PreNormBlockConfig {
            width: self.width,
            heads: self.heads,
            feed_forward_width: self.feed_forward_width,
            activation: self.activation,
            mask: AttentionMask::None,
            eps: self.eps,
            layer_scale: self.layer_scale,
            names: &self.names.block,
        }
    }

    /// How wide the pooled features are.
    pub fn pooled_width(&self) -> usize {
        match self.pooling {
            ImagePooling::Queries { width, .. } => width,
            _ => self.width,
        }
    }
}

/// What a checkpoint calls the parts of a [`VisionTransformer`](super::VisionTransformer).
#[derive(Debug, PartialEq, Eq)]
pub struct VisionTransformerNames {
    /// The patch embedding's convolution.
    pub patch_embedding: &'static str,
    /// The class token.
    pub class_token: &'static str,
    /// The position table.
    pub positions: &'static str,
    /// Whether class token and position table are stored with leading dimensions of 1.
    pub leading_ones: bool,
    /// The norm before the blocks.
    pub norm_before: &'static str,
    /// The list of blocks.
    pub blocks: &'static str,
    /// Within a block.
    pub block: BlockNames,
    /// The norm after the blocks.
    pub norm_after: &'static str,
    /// Within the attention-pooling head.
    pub attention_pool: AttentionPoolNames,
}

/// What a checkpoint calls the parts of SigLIP's attention-pooling head.
#[derive(Debug, PartialEq, Eq)]
pub struct AttentionPoolNames {
    /// The learned query.
    pub probe: &'static str,
    /// How queries, keys and values are stored.
    pub query_key_value: PoolProjectionNames,
    /// The projection after the attention.
    pub output: &'static str,
    /// The norm before the feed-forward part.
    pub norm: &'static str,
    /// The widening and the narrowing map of the feed-forward part.
    pub feed_forward: (&'static str, &'static str),
}

/// How a pooling head stores its projections to queries, keys and values.
#[derive(Debug, PartialEq, Eq)]
pub enum PoolProjectionNames {
    /// One map for all three: the names of its weight and bias.
    Packed(&'static str, &'static str),
    /// One map for queries, one for keys and values.
    QueryAndKeyValue(&'static str, &'static str),
}

impl VisionTransformerNames {
    /// open_clip's own tower.
    pub const OPEN_CLIP: Self = Self {
        patch_embedding: "conv1",
        class_token: "class_embedding",
        positions: "positional_embedding",
        leading_ones: false,
        norm_before: "ln_pre",
        blocks: "transformer.resblocks",
        block: BlockNames::OPEN_CLIP,
        norm_after: "ln_post",
        // open_clip's own tower has CoCa's pooler instead.
        attention_pool: AttentionPoolNames::TIMM,
    };
    /// The CLIP family in Hugging Face transformers; `pre_layrnorm` is how it is spelt there.
    pub const HUGGING_FACE: Self = Self {
        patch_embedding: "embeddings.patch_embedding",
        class_token: "embeddings.class_embedding",
        positions: "embeddings.position_embedding.weight",
        leading_ones: false,
        norm_before: "pre_layrnorm",
        blocks: "encoder.layers",
        block: BlockNames::HUGGING_FACE,
        norm_after: "post_layernorm",
        attention_pool: AttentionPoolNames::HUGGING_FACE,
    };
    /// timm's vision transformers.
    pub const TIMM: Self = Self {
        patch_embedding: "patch_embed.proj",
        class_token: "cls_token",
        positions: "pos_embed",
        leading_ones: true,
        norm_before: "norm_pre",
        blocks: "blocks",
        block: BlockNames::TIMM,
        norm_after: "norm",
        attention_pool: AttentionPoolNames::TIMM,
    };
}

impl AttentionPoolNames {
    /// `SiglipMultiheadAttentionPoolingHead` in Hugging Face transformers.
    pub const HUGGING_FACE: Self = Self {
        probe: "head.probe",
        query_key_value: PoolProjectionNames::Packed(
            "head.attention.in_proj_weight",
            "head.attention.in_proj_bias",
        ),
        output: "head.attention.out_proj",
        norm: "head.layernorm",
        feed_forward: ("head.mlp.fc1", "head.mlp.fc2"),
    };
    /// `AttentionPoolLatent` in timm.
    pub const TIMM: Self = Self {
        probe: "attn_pool.latent",
        query_key_value: PoolProjectionNames::QueryAndKeyValue("attn_pool.q", "attn_pool.kv"),
        output: "attn_pool.proj",
        norm: "attn_pool.norm",
        feed_forward: ("attn_pool.mlp.fc1", "attn_pool.mlp.fc2"),
    };
}
