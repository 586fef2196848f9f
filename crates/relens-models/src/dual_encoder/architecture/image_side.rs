//! The image side of a model, and how pooled features of either side come to the shared space.

use std::fmt::{self, Display, Formatter};

use candle_core::Tensor;

use crate::Result;
use crate::layers::Linear;
use crate::ops::{Activation, l2_normalize};
use crate::parameters::{LinearStorage, Parameters};
use crate::towers::efficientnet::{EfficientNet, EfficientNetConfig};
use crate::towers::eva02::{Eva02, Eva02Config};
use crate::towers::modified_resnet::{ModifiedResNet, ModifiedResNetConfig};
use crate::towers::vision_transformer::{VisionTransformer, VisionTransformerConfig};

/// An image tower, where the checkpoint keeps it, and its projection.
#[derive(Debug, Clone)]
pub struct ImageSide {
    /// The names' prefix of the tower's tensors.
    pub place: String,
    /// The tower.
    pub tower: ImageTowerConfig,
    /// What follows the tower; its names are full.
    pub projection: ProjectionConfig,
}

/// The image towers that relens has.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ImageTowerConfig {
    /// CLIP's, CoCa's, SigLIP's and Chinese-CLIP's.
    VisionTransformer(VisionTransformerConfig),
    /// CLIP's RN50 and its larger relatives.
    ModifiedResNet(ModifiedResNetConfig),
    /// EVA-02-CLIP's.
    Eva02(Eva02Config),
    /// A light convolutional network from timm.
    EfficientNet {
        /// Its name in timm.
        name: String,
        /// The network.
        config: EfficientNetConfig,
        /// Side of the square picture in pixels.
        image_size: usize,
    },
}

impl ImageTowerConfig {
    /// Side of the square picture in pixels.
    pub fn image_size(&self) -> usize {
        match self {
            Self::VisionTransformer(config) => config.image_size,
            Self::ModifiedResNet(config) => config.image_size,
            Self::Eva02(config) => config.image_size,
            Self::EfficientNet { image_size, .. } => *image_size,
        }
    }
}

/// In words, for people.
impl Display for ImageTowerConfig {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::VisionTransformer(config) => {
                let (layers, width, patch) = (config.layers, config.width, config.patch_size);
                write!(formatter, "vision transformer of {layers} layers, width {width}, patch {patch}")
            }
            Self::ModifiedResNet(config) => {
                let [a, b, c, d] = config.layers;
                write!(formatter, "modified ResNet of {a}+{b}+{c}+{d} blocks, width {}", config.width)
            }
            Self::Eva02(config) => {
                let (layers, width, patch) = (config.layers, config.width, config.patch_size);
                write!(formatter, "EVA-02 of {layers} layers, width {width}, patch {patch}")
            }
            Self::EfficientNet { name, .. } => formatter.write_str(name),
        }
    }
}

/// An image tower and its projection, with their tensors.
pub struct ImageEncoder {
    tower: ImageTower,
    width: usize,
    projection: Projection,
}

enum ImageTower {
    VisionTransformer(VisionTransformer),
    ModifiedResNet(ModifiedResNet),
    Eva02(Eva02),
    EfficientNet(Box<EfficientNet>),
}

impl ImageEncoder {
    /// Takes the tensors that `side` describes.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, side: &ImageSide, embed_dim: usize) -> Result<Self> {
        let place = parameters.pp(&side.place);
        let (tower, width) = match &side.tower {
            ImageTowerConfig::VisionTransformer(config) => (
                ImageTower::VisionTransformer(VisionTransformer::load(&place, config)?),
                config.pooled_width(),
            ),
            ImageTowerConfig::ModifiedResNet(config) => {
                (ImageTower::ModifiedResNet(ModifiedResNet::load(&place, config)?), config.outputs)
            }
            ImageTowerConfig::Eva02(config) => {
                let tower = Eva02::load(&place, config)?;
                let width = tower.width();
                (ImageTower::Eva02(tower), width)
            }
            ImageTowerConfig::EfficientNet { config, .. } => {
                let tower = EfficientNet::new(config.clone(), &place)?;
                let width = tower.feature_size();
                (ImageTower::EfficientNet(Box::new(tower)), width)
            }
        };
        let projection = Projection::load(parameters, &side.projection, width, embed_dim)?;
        Ok(Self { tower, width, projection })
    }

    /// How many features a picture has before the projection.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pooled features, before the projection.
    ///
    /// # Shapes
    /// - `images`: `[images, image_size, image_size, 3]`, normalised
    /// - output: `[images, features]`
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn features(&self, images: &Tensor) -> Result<Tensor> {
        match &self.tower {
            ImageTower::VisionTransformer(tower) => tower.forward(images),
            ImageTower::ModifiedResNet(tower) => tower.forward(images),
            ImageTower::Eva02(tower) => tower.forward(images),
            ImageTower::EfficientNet(tower) => tower.pooled(images),
        }
    }

    /// From pooled features to embeddings.
    ///
    /// # Shapes
    /// - `features`: `[images, features]`
    /// - output: `[images, embed_dim]`, rows of length 1
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn project(&self, features: &Tensor) -> Result<Tensor> {
        l2_normalize(&self.projection.forward(features)?)
    }

    /// Embeds prepared pictures.
    ///
    /// # Shapes
    /// - `images`: `[images, image_size, image_size, 3]`, normalised
    /// - output: `[images, embed_dim]`, rows of length 1
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn encode(&self, images: &Tensor) -> Result<Tensor> {
        self.project(&self.features(images)?)
    }
}

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
