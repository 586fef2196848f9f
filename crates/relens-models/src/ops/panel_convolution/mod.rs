//! Convolutions for inference on activations in panels of 32 channels, several pixels in registers at a time.
//!
//! What the convolutional trunks share: the layout, and the product of consecutive pixels with a panel of weights,
//! with bias, residual and activation applied before anything is written.

mod panels;
mod product;

pub(crate) use panels::{AlignedBuffer, HALF_PANEL, PANEL, panel_count, panel_width, unpack};
#[cfg(test)]
pub(crate) use product::checked;
pub(crate) use product::{Destination, Epilogue, ONE_TAP, PackedWeights, Pixels, convolve_panel, load};
