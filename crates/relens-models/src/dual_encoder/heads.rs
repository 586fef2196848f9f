//! What open_clip puts on top of a tower: from the tower's features to the shared space.

use super::config::{HeadKind, ModelConfig};
use crate::dual_encoder::architecture::ProjectionConfig;

impl ModelConfig {
    /// The head of the image tower (`visual.head`); the `mlp` is twice as wide inside as the embedding.
    pub fn image_projection(&self) -> ProjectionConfig {
        let bias = self.vision_cfg.timm_proj_bias;
        match self.vision_cfg.timm_proj {
            HeadKind::Linear => ProjectionConfig::Linear { place: "visual.head.proj".into(), bias },
            HeadKind::Mlp => ProjectionConfig::Mlp {
                expand: "visual.head.mlp.fc1".into(),
                expand_bias: true,
                inner: 2 * self.embed_dim,
                contract: "visual.head.mlp.fc2".into(),
                contract_bias: bias,
            },
        }
    }

    /// The projection of a Hugging Face text tower of that width (`text.proj`), without biases; the `mlp` is midway
    /// between the tower and the embedding inside.
    pub fn text_projection(&self, width: usize) -> ProjectionConfig {
        match self.text_cfg.hf_proj_type {
            None => ProjectionConfig::Identity,
            Some(HeadKind::Linear) => ProjectionConfig::Linear { place: "text.proj".into(), bias: false },
            Some(HeadKind::Mlp) => ProjectionConfig::Mlp {
                expand: "text.proj.0".into(),
                expand_bias: false,
                inner: width.midpoint(self.embed_dim),
                contract: "text.proj.2".into(),
                contract_bias: false,
            },
        }
    }
}
