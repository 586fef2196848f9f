//! How large towers are and what one picture or text costs in them, roughly, from their configuration alone.

use relens_models::dual_encoder::architecture::{Architecture, ImageTowerConfig, TextTowerConfig};

/// Bytes kept for the backward pass, for each token, layer and unit of width, in f32: twice the 34 of Korthikanti et al.
/// 2022 (arXiv 2205.05198), table 2, which are for 16 bits.
const ACTIVATION_BYTES: f64 = 68.0;
/// Positions that a convolution's weight is used at, as a multiple of those of the last feature map: RN50's 4.1 G
/// multiplications of 23.5 M weights at 49 positions, EfficientNet's somewhat less.
const POSITIONS: f64 = 3.6;
/// Values that a convolutional tower keeps for the backward pass, for each pixel of the picture: RN50's stages keep about
/// ten million for 224 × 224, each before and after its activation.
const VALUES_PER_PIXEL: f64 = 400.0;

/// A tower's size and what one input costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TowerSizes {
    /// Weights; known without the file for transformers only.
    pub(super) parameters: Option<u64>,
    /// Weights that each token is multiplied by, by tokens.
    pub(super) multiplications: f64,
    /// Bytes that the backward pass needs.
    pub(super) activations: f64,
    /// Tokens, or positions of the last feature map.
    pub(super) tokens: f64,
}

struct Transformer {
    layers: usize,
    width: usize,
    feed_forward: usize,
    /// Matrices of the feed-forward part.
    feed_forward_maps: usize,
    /// Weights outside the blocks.
    tables: usize,
}

impl Transformer {
    fn block(&self) -> usize {
        let Self { width, feed_forward, feed_forward_maps, .. } = self;
        // Four maps with bias of the attention, the feed-forward part, two norms.
        4 * (width * width + width)
            + feed_forward_maps * width * feed_forward
            + feed_forward
            + width
            + 4 * width
    }

    fn sizes(&self, tokens: f64) -> TowerSizes {
        let in_blocks = self.layers * self.block();
        TowerSizes {
            parameters: Some((in_blocks + self.tables) as u64),
            multiplications: in_blocks as f64 * tokens,
            activations: tokens * (self.layers * self.width) as f64 * ACTIVATION_BYTES,
            tokens,
        }
    }
}

/// Of the image tower; `parameters` are those of its file, if it is there.
pub(super) fn image_tower(architecture: &Architecture, parameters: Option<u64>) -> TowerSizes {
    let tower = &architecture.image.tower;
    match tower {
        ImageTowerConfig::VisionTransformer(config) => Transformer {
            layers: config.layers,
            width: config.width,
            feed_forward: config.feed_forward_width,
            feed_forward_maps: 2,
            tables: (3 * config.patch_size * config.patch_size + config.tokens() + 5) * config.width,
        }
        .sizes(config.tokens() as f64),
        ImageTowerConfig::Eva02(config) => {
            let side = config.image_size / config.patch_size.max(1);
            Transformer {
                layers: config.layers,
                width: config.width,
                feed_forward: config.feed_forward_width,
                feed_forward_maps: 3,
                tables: (3 * config.patch_size * config.patch_size + side * side + 5) * config.width,
            }
            .sizes((side * side + 1) as f64)
        }
        _ => {
            let side = tower.image_size() as f64;
            let positions = (side / 32.0) * (side / 32.0);
            TowerSizes {
                parameters,
                multiplications: parameters.unwrap_or(0) as f64 * positions * POSITIONS,
                activations: side * side * VALUES_PER_PIXEL * 4.0,
                tokens: positions,
            }
        }
    }
}

/// Of the text tower, for texts of so many tokens.
pub(super) fn text_tower(architecture: &Architecture, tokens: f64) -> TowerSizes {
    match &architecture.text.tower {
        TextTowerConfig::Bert(config, _) => Transformer {
            layers: config.num_hidden_layers,
            width: config.hidden_size,
            feed_forward: config.intermediate_size,
            feed_forward_maps: 2,
            tables: (config.vocab_size + config.max_position_embeddings + 4) * config.hidden_size,
        },
        TextTowerConfig::Transformer(config) => Transformer {
            layers: config.layers,
            width: config.width,
            feed_forward: config.feed_forward_width,
            feed_forward_maps: 2,
            tables: (config.vocabulary_size + config.context_length + 2) * config.width,
        },
        // Towers that are still to come are planned as if they cost nothing; their weights are counted from the file.
        _ => Transformer { layers: 0, width: 0, feed_forward: 0, feed_forward_maps: 0, tables: 0 },
    }
    .sizes(tokens)
}
