//! From a tower's pooled features to the shared space.

use candle_core::Tensor;

use crate::Result;
use crate::layers::Linear;
use crate::ops::Activation;
use crate::parameters::{LinearStorage, Parameters};

/// How a checkpoint stores a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectionConfig {
    /// There is none: the tower ends in the shared space.
    Identity,
    /// A matrix of this name, stored `[features, embed_dim]`.
    Matrix(String),
    /// A linear layer at this place, stored `[embed_dim, features]`.
    Linear {
        /// The layer's name, without `.weight`.
        place: String,
        /// Whether it has a bias.
        bias: bool,
    },
    /// Two linear layers with a GELU between them.
    Mlp {
        /// The first layer's name.
        expand: String,
        /// Whether the first layer has a bias.
        expand_bias: bool,
        /// Width between the layers.
        inner: usize,
        /// The second layer's name.
        contract: String,
        /// Whether the second layer has a bias.
        contract_bias: bool,
    },
}

/// A projection with its tensors.
#[derive(Debug, Clone)]
pub enum Projection {
    /// Features as they are.
    Identity,
    /// x·W (+ b)
    Linear(Linear),
    /// gelu(x·W₁ (+ b₁))·W₂ (+ b₂)
    Mlp(Linear, Linear),
}

impl Projection {
    /// Takes the projection's tensors.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(
        parameters: &Parameters,
        config: &ProjectionConfig,
        features: usize,
        embed_dim: usize,
    ) -> Result<Self> {
        // Embeddings are compared to the third digit; rounding here would save next to nothing.
        let parameters = &parameters.clone().with_storage(LinearStorage::AsStored);
        let linear = |place: &str, bias: bool, inputs: usize, outputs: usize| {
            let place = parameters.pp(place);
            if bias {
                Linear::load(&place, inputs, outputs)
            } else {
                Linear::load_without_bias(&place, inputs, outputs)
            }
        };
        Ok(match config {
            ProjectionConfig::Identity => Self::Identity,
            ProjectionConfig::Matrix(name) => {
                Self::Linear(Linear::new(parameters.tensor(name, &[features, embed_dim])?, None))
            }
            ProjectionConfig::Linear { place, bias } => {
                Self::Linear(linear(place, *bias, features, embed_dim)?)
            }
            ProjectionConfig::Mlp { expand, expand_bias, inner, contract, contract_bias } => Self::Mlp(
                linear(expand, *expand_bias, features, *inner)?,
                linear(contract, *contract_bias, *inner, embed_dim)?,
            ),
        })
    }

    /// Projects features; the result is not normalised.
    ///
    /// # Shapes
    /// - `features`: `[rows, features]`
    /// - output: `[rows, embed_dim]`
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, features: &Tensor) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(features.clone()),
            Self::Linear(linear) => linear.forward(features),
            Self::Mlp(expand, contract) => {
                contract.forward(&expand.forward_activated(features, Activation::Gelu)?)
            }
        }
    }
}
