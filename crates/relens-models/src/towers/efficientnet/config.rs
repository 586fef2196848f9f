//! Widths and depths of the EfficientNet-Lite family.

use crate::ops::arguments::refuse;
use crate::{ModelError, Result};

/// One stage of Lite0: `(blocks, kernel, stride, expansion, channels)`.
type StageSizes = (usize, usize, usize, usize, usize);

/// EfficientNet-B0's stages (Tan and Le, 2019, table 1), which Lite0 keeps.
const STAGES: [StageSizes; 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];

/// What timm adds to the variance in TensorFlow's models.
const NORM_EPS: f64 = 1e-3;

/// The shape of an EfficientNet-Lite.
#[derive(Debug, Clone, PartialEq)]
pub struct EfficientNetConfig {
    /// Channels behind the first convolution. 32 in the whole family.
    pub stem_channels: usize,
    /// The blocks, in order.
    pub blocks: Vec<BlockConfig>,
    /// Channels behind the last convolution: the size of an image's features. 1280 in the whole family.
    pub head_channels: usize,
    /// Side of the pictures that the variant was trained on, in pixels.
    pub input_size: u32,
    /// Added to the variance by the batch normalisations. 1e-3 in the whole family.
    pub norm_eps: f64,
}

/// The shape of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockConfig {
    /// The stage, as in the checkpoint's `blocks.{stage}.{position}`.
    pub stage: usize,
    /// The position within the stage.
    pub position: usize,
    /// Side of the depthwise kernel.
    pub kernel: usize,
    /// Stride of the depthwise convolution.
    pub stride: usize,
    /// Channels that come in.
    pub inputs: usize,
    /// Times as many channels inside. At 1 there is no expanding convolution, and the block is named as timm's
    /// `DepthwiseSeparableConv`; only the first block is of that kind.
    pub expansion: usize,
    /// Channels that go out.
    pub outputs: usize,
}

impl BlockConfig {
    /// Channels of the depthwise convolution.
    #[must_use]
    pub fn expanded(&self) -> usize {
        self.inputs * self.expansion
    }

    /// Whether the input is added to the output.
    #[must_use]
    pub fn is_residual(&self) -> bool {
        self.stride == 1 && self.inputs == self.outputs
    }
}

impl EfficientNetConfig {
    /// The configuration of a timm model: `tf_efficientnet_lite0` to `tf_efficientnet_lite4`, with or without a
    /// pretraining tag behind a dot. The variants without `tf_` pad and normalise otherwise and are refused.
    ///
    /// # Errors
    /// [`ModelError::Argument`] for any other name.
    pub fn from_timm_name(name: &str) -> Result<Self> {
        let architecture = name.split('.').next().unwrap_or(name);
        // Width and depth multipliers and input size of timm's `_gen_efficientnet_lite`.
        let (width, depth, input_size) = match architecture {
            "tf_efficientnet_lite0" => (1.0, 1.0, 224),
            "tf_efficientnet_lite1" => (1.0, 1.1, 240),
            "tf_efficientnet_lite2" => (1.1, 1.2, 260),
            "tf_efficientnet_lite3" => (1.2, 1.4, 280),
            "tf_efficientnet_lite4" => (1.4, 1.8, 300),
            _ => {
                return Err(refuse(
                    "EfficientNetConfig::from_timm_name",
                    "tf_efficientnet_lite0 to tf_efficientnet_lite4",
                    name,
                ));
            }
        };
        Ok(Self::scaled(width, depth, input_size))
    }

    fn scaled(width: f64, depth: f64, input_size: u32) -> Self {
        let stem_channels = 32;
        let mut blocks = Vec::new();
        let mut inputs = stem_channels;
        for (stage, &(count, kernel, stride, expansion, channels)) in STAGES.iter().enumerate() {
            // The Lite family keeps the first and the last stage at their depth (timm's `fix_first_last`).
            let outer = stage == 0 || stage == STAGES.len() - 1;
            let count = if outer { count } else { scaled_depth(count, depth) };
            let outputs = scaled_width(channels, width);
            for position in 0..count {
                // Only the first block of a stage makes the image smaller.
                let stride = if position == 0 { stride } else { 1 };
                blocks.push(BlockConfig { stage, position, kernel, stride, inputs, expansion, outputs });
                inputs = outputs;
            }
        }
        Self { stem_channels, blocks, head_channels: 1280, input_size, norm_eps: NORM_EPS }
    }

    /// Channels of the features before block `block`; behind the last one, those that the head reads.
    #[must_use]
    pub fn channels_before(&self, block: usize) -> usize {
        let before = block.checked_sub(1).and_then(|last| self.blocks.get(last));
        before.map_or(self.stem_channels, |block| block.outputs)
    }

    /// Refuses shapes that are not of the family: sizes of zero, blocks that do not follow from one another.
    pub(super) fn check(&self) -> Result<()> {
        let mut inputs = self.stem_channels;
        let sizes = [self.stem_channels, self.head_channels, self.blocks.len()];
        let mut fits = !sizes.contains(&0);
        for (number, block) in self.blocks.iter().enumerate() {
            fits &= block.inputs == inputs && block.outputs > 0 && (1..=3).contains(&block.stride);
            fits &= (1..=9).contains(&block.kernel) && block.kernel >= block.stride;
            fits &= match number {
                0 => block.expansion == 1 && !block.is_residual(),
                _ => block.expansion > 1,
            };
            inputs = block.outputs;
        }
        if fits {
            return Ok(());
        }
        Err(ModelError::Argument {
            operation: "EfficientNet::new",
            expected:
                "blocks that continue one another's channels; the first, and no other, without expansion \
                       and with more or fewer channels behind it"
                    .into(),
            found: format!("{self:?}"),
        })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive numbers")]
fn scaled_depth(count: usize, multiplier: f64) -> usize {
    (count as f64 * multiplier).ceil() as usize
}

/// Rounds to a multiple of 8, but never down by more than a tenth (timm's `round_channels`).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive numbers")]
fn scaled_width(channels: usize, multiplier: f64) -> usize {
    const DIVISOR: usize = 8;
    let scaled = channels as f64 * multiplier;
    let rounded = ((scaled + 4.0) as usize / DIVISOR * DIVISOR).max(DIVISOR);
    if (rounded as f64) < 0.9 * scaled { rounded + DIVISOR } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lite0_has_the_familys_sizes() {
        let config = EfficientNetConfig::from_timm_name("tf_efficientnet_lite0.in1k").unwrap();
        assert_eq!(config.blocks.len(), 16);
        assert_eq!(config.channels_before(0), 32);
        assert_eq!(config.channels_before(16), 320);
        assert_eq!(config.blocks[15].expanded(), 1152);
        config.check().unwrap();
    }

    #[test]
    fn lite4_is_wider_and_deeper() {
        let config = EfficientNetConfig::from_timm_name("tf_efficientnet_lite4").unwrap();
        let outputs: Vec<_> = config.blocks.iter().map(|block| block.outputs).collect();
        assert_eq!(outputs.len(), 1 + 4 + 4 + 6 + 6 + 8 + 1);
        assert_eq!([outputs[0], outputs[1], outputs[5], outputs[29]], [24, 32, 56, 448]);
        config.check().unwrap();
    }

    #[test]
    fn other_names_and_shapes_are_refused() {
        assert!(EfficientNetConfig::from_timm_name("efficientnet_lite0").is_err());
        let message = EfficientNetConfig::from_timm_name("resnet50").unwrap_err().to_string();
        assert!(message.contains("found resnet50"), "{message}");
        let mut config = EfficientNetConfig::from_timm_name("tf_efficientnet_lite0").unwrap();
        config.blocks.remove(3);
        assert!(config.check().is_err());
    }
}
