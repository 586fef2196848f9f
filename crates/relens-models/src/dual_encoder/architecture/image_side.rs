//! The image side of a model.

use std::fmt::{self, Display, Formatter};

use candle_core::Tensor;

use super::projection::{Projection, ProjectionConfig};
use crate::Result;
use crate::ops::l2_normalize;
use crate::parameters::Parameters;
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
