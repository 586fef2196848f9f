//! Convolutions: one that is differentiable, and what the fused networks for inference are made of.
//!
//! [`depthwise_conv2d`] is an operation like the others. The fused trunks share a layout of activations in panels of 32
//! channels, and the product of consecutive pixels with a panel of weights, several pixels in registers at a time, with
//! bias, residual and activation applied before anything is written.

mod depthwise;
mod operands;
mod panels;
mod product;

pub use depthwise::depthwise_conv2d;
pub(crate) use operands::{Destination, ONE_TAP, PackedWeights, PanelEpilogue, Pixels};
pub(crate) use panels::{AlignedBuffer, HALF_PANEL, PANEL, ScratchPool, panel_count, panel_width, unpack};
#[cfg(test)]
pub(crate) use product::checked;
pub(crate) use product::{convolve_panel, load};

/// One axis of a convolution: how many outputs it has, and how many zeros go before the inputs.
///
/// TensorFlow pads as little as gives ⌈inputs / stride⌉ outputs; of an odd total, the larger part goes behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SamePadding {
    /// Number of outputs.
    pub(crate) outputs: usize,
    /// Zeros before the first input.
    pub(crate) before: usize,
    /// Inputs and zeros together that the outputs look at: `(outputs − 1) × stride + kernel`.
    pub(crate) padded: usize,
}

impl SamePadding {
    /// The padding for `inputs` positions; an empty axis stays empty.
    pub(crate) fn new(inputs: usize, kernel: usize, stride: usize) -> Self {
        let outputs = inputs.div_ceil(stride);
        let padded = match outputs {
            0 => 0,
            _ => (outputs - 1) * stride + kernel,
        };
        Self { outputs, before: padded.saturating_sub(inputs) / 2, padded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_as_tensorflow_does() {
        let even = SamePadding::new(224, 3, 2);
        assert_eq!(even, SamePadding { outputs: 112, before: 0, padded: 225 });
        let odd = SamePadding::new(65, 3, 2);
        assert_eq!(odd, SamePadding { outputs: 33, before: 1, padded: 67 });
        let wide = SamePadding::new(56, 5, 2);
        assert_eq!(wide, SamePadding { outputs: 28, before: 1, padded: 59 });
        let dense = SamePadding::new(7, 5, 1);
        assert_eq!(dense, SamePadding { outputs: 7, before: 2, padded: 11 });
    }
}
