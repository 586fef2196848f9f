//! The text side of a model.

use std::fmt::{self, Display, Formatter};

use candle_core::Tensor;

use super::image_side::{Projection, ProjectionConfig};
use crate::ops::{embedding, l2_normalize, mean_pool};
use crate::parameters::Parameters;
use crate::tokenizer::{TokenBatch, TokenizerConfig};
use crate::towers::bert::{BertConfig, BertModel};
use crate::towers::text_transformer::{TextTransformer, TextTransformerConfig};
use crate::{ModelError, Result};

/// A text tower, where the checkpoint keeps it, and its projection.
#[derive(Debug, Clone)]
pub struct TextSide {
    /// The names' prefix of the tower's tensors.
    pub place: String,
    /// The tower.
    pub tower: TextTowerConfig,
    /// What follows the tower; its names are full.
    pub projection: ProjectionConfig,
    /// How texts become tokens.
    pub tokenizer: TokenizerConfig,
}

/// The text towers that relens has.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TextTowerConfig {
    /// CLIP's, CoCa's and SigLIP's.
    Transformer(TextTransformerConfig),
    /// A BERT and how its tokens become one vector.
    Bert(BertConfig, TokenPooling),
}

impl TextTowerConfig {
    /// Tokens that the tower has vectors for.
    pub fn vocabulary_size(&self) -> usize {
        match self {
            Self::Transformer(config) => config.vocabulary_size,
            Self::Bert(config, _) => config.vocab_size,
        }
    }
}

/// In words, for people.
impl Display for TextTowerConfig {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transformer(config) => {
                write!(formatter, "transformer of {} layers, width {}", config.layers, config.width)
            }
            Self::Bert(config, _) => {
                let (layers, width) = (config.num_hidden_layers, config.hidden_size);
                write!(formatter, "BERT of {layers} layers, width {width}")
            }
        }
    }
}

/// How the tokens of a BERT become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPooling {
    /// The mean of all tokens.
    Mean,
    /// The first token, `[CLS]`.
    First,
}

/// A text tower and its projection, with their tensors.
#[derive(Debug, Clone)]
pub struct TextEncoder {
    tower: TextTower,
    projection: Projection,
}

#[derive(Debug, Clone)]
enum TextTower {
    Transformer(TextTransformer),
    Bert(BertModel, TokenPooling),
}

impl TextEncoder {
    /// Takes the tensors that `side` describes.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, side: &TextSide, embed_dim: usize) -> Result<Self> {
        let place = parameters.pp(&side.place);
        let (tower, width) = match &side.tower {
            TextTowerConfig::Transformer(config) => {
                (TextTower::Transformer(TextTransformer::load(&place, config)?), config.width)
            }
            TextTowerConfig::Bert(config, pooling) => {
                (TextTower::Bert(BertModel::load(&place, config)?, *pooling), config.hidden_size)
            }
        };
        Ok(Self { tower, projection: Projection::load(parameters, &side.projection, width, embed_dim)? })
    }

    /// Pooled features, before the projection.
    ///
    /// # Shapes
    /// - output: `[texts, features]`
    ///
    /// # Errors
    /// When a text is empty or too long, or an id is outside of the vocabulary.
    pub fn features(&self, tokens: &TokenBatch) -> Result<Tensor> {
        match &self.tower {
            TextTower::Transformer(tower) => tower.forward(tokens),
            TextTower::Bert(tower, TokenPooling::Mean) => mean_pool(&tower.forward(tokens)?, &tokens.offsets),
            TextTower::Bert(tower, TokenPooling::First) => {
                if tokens.offsets.windows(2).any(|text| text[0] >= text[1]) {
                    return Err(ModelError::Argument {
                        operation: "TextEncoder",
                        expected: "at least one token per text".into(),
                        found: "a text without tokens".into(),
                    });
                }
                let firsts: Vec<u32> =
                    tokens.offsets.iter().take(tokens.len()).map(|&offset| offset as u32).collect();
                embedding(&tower.forward(tokens)?, &firsts)
            }
        }
    }

    /// Embeds tokenised texts.
    ///
    /// # Shapes
    /// - output: `[texts, embed_dim]`, rows of length 1
    ///
    /// # Errors
    /// As [`TextEncoder::features`].
    pub fn encode(&self, tokens: &TokenBatch) -> Result<Tensor> {
        l2_normalize(&self.projection.forward(&self.features(tokens)?)?)
    }
}
