//! What the checkpoints of different libraries call the parts of a vision transformer.

use crate::layers::BlockNames;

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
