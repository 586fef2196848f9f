//! The sizes and variants of a vision transformer.

use super::names::VisionTransformerNames;
use crate::layers::PreNormBlockConfig;
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
