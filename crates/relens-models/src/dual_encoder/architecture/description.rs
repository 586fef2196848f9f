//! The towers in words, for people.

use std::fmt::{self, Display, Formatter};

use super::{ImageTowerConfig, TextTowerConfig};

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
