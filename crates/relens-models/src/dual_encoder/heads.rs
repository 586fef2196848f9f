//! What open_clip puts on top of a tower: from the tower's features to the shared space.

use candle_core::Tensor;

use super::config::{HeadKind, ModelConfig, VisionConfig};
use crate::error::{ModelError, Result};
use crate::ops::{Activation, linear, linear_activation};
use crate::weights::Parameters;

/// The head of a timm image tower (`visual.head`).
#[derive(Clone, Debug)]
pub enum ImageHead {
    /// `x·W (+ b)`
    Linear {
        /// `[features, embed_dim]`
        weight: Tensor,
        /// `[embed_dim]`
        bias: Option<Tensor>,
    },
    /// `gelu(x·W₁ + b₁)·W₂ (+ b₂)`, hidden width twice the embedding's.
    Mlp {
        /// `[features, 2 · embed_dim]`
        hidden_weight: Tensor,
        /// `[2 · embed_dim]`
        hidden_bias: Tensor,
        /// `[2 · embed_dim, embed_dim]`
        weight: Tensor,
        /// `[embed_dim]`
        bias: Option<Tensor>,
    },
}

impl ImageHead {
    /// Takes the head from `parameters`, the place called `visual.head`.
    ///
    /// # Errors
    /// A tensor is missing or of another shape.
    pub fn load(
        parameters: &Parameters,
        config: &VisionConfig,
        features: usize,
        embed_dim: usize,
    ) -> Result<Self> {
        let place = parameters.pp(match config.timm_proj {
            HeadKind::Linear => "proj",
            HeadKind::Mlp => "mlp.fc2",
        });
        let bias = config.timm_proj_bias.then(|| place.tensor("bias", &[embed_dim])).transpose()?;
        if config.timm_proj == HeadKind::Linear {
            return Ok(Self::Linear { weight: place.linear_weight("weight", features, embed_dim)?, bias });
        }
        let (hidden, hidden_width) = (parameters.pp("mlp.fc1"), image_hidden_width(embed_dim));
        Ok(Self::Mlp {
            hidden_weight: hidden.linear_weight("weight", features, hidden_width)?,
            hidden_bias: hidden.tensor("bias", &[hidden_width])?,
            weight: place.linear_weight("weight", hidden_width, embed_dim)?,
            bias,
        })
    }

    /// Projects pooled features; the result is not normalised.
    ///
    /// # Shapes
    /// - `features`: `[images, features]`
    /// - result: `[images, embed_dim]`
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn forward(&self, features: &Tensor) -> Result<Tensor> {
        match self {
            Self::Linear { weight, bias } => linear(features, weight, bias.as_ref()),
            Self::Mlp { hidden_weight, hidden_bias, weight, bias } => {
                let hidden = linear_activation(features, hidden_weight, Some(hidden_bias), Activation::Gelu)?;
                linear(&hidden, weight, bias.as_ref())
            }
        }
    }
}

/// The projection of a Hugging Face text tower (`text.proj`). No layer has a bias.
#[derive(Clone, Debug)]
pub enum TextProjection {
    /// The tower's width is the embedding's, and nothing is on top.
    Identity,
    /// `x·W`
    Linear {
        /// `[width, embed_dim]`
        weight: Tensor,
    },
    /// `gelu(x·W₁)·W₂`, hidden width midway between the tower's and the embedding's.
    Mlp {
        /// `[width, (width + embed_dim) / 2]`
        hidden_weight: Tensor,
        /// `[(width + embed_dim) / 2, embed_dim]`
        weight: Tensor,
    },
}

impl TextProjection {
    /// Takes the projection from `parameters`, the place called `text`.
    ///
    /// # Errors
    /// A tensor is missing or of another shape; no projection is asked for, but the widths differ.
    pub fn load(parameters: &Parameters, config: &ModelConfig, width: usize) -> Result<Self> {
        let embed_dim = config.embed_dim;
        match config.text_cfg.hf_proj_type {
            None if width == embed_dim => Ok(Self::Identity),
            None => Err(ModelError::Config {
                path: parameters.weights().path().to_owned(),
                reason: format!(
                    "`text_cfg.hf_proj_type` is null: expected a text tower as wide as the embedding ({embed_dim}), \
                     found width {width}"
                ),
            }),
            Some(HeadKind::Linear) => {
                Ok(Self::Linear { weight: parameters.linear_weight("proj.weight", width, embed_dim)? })
            }
            Some(HeadKind::Mlp) => {
                let hidden = text_hidden_width(width, embed_dim);
                Ok(Self::Mlp {
                    hidden_weight: parameters.linear_weight("proj.0.weight", width, hidden)?,
                    weight: parameters.linear_weight("proj.2.weight", hidden, embed_dim)?,
                })
            }
        }
    }

    /// Projects pooled features; the result is not normalised.
    ///
    /// # Shapes
    /// - `features`: `[texts, width]`
    /// - result: `[texts, embed_dim]`
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn forward(&self, features: &Tensor) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(features.clone()),
            Self::Linear { weight } => linear(features, weight, None),
            Self::Mlp { hidden_weight, weight } => {
                let hidden = linear_activation(features, hidden_weight, None, Activation::Gelu)?;
                linear(&hidden, weight, None)
            }
        }
    }
}

/// The hidden width of open_clip's `mlp` head on an image tower.
pub fn image_hidden_width(embed_dim: usize) -> usize {
    2 * embed_dim
}

/// The hidden width of open_clip's `mlp` projection on a text tower.
pub fn text_hidden_width(width: usize, embed_dim: usize) -> usize {
    width.midpoint(embed_dim)
}
