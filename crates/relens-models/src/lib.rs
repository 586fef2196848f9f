//! How a text and an image are computed, and differentiated.

pub mod bert;
pub mod dual_encoder;
pub mod efficientnet;
pub mod error;
pub mod image_preprocessing;
pub mod layers;
pub mod ops;
pub mod tokenizer;
pub mod weights;

pub use error::{ModelError, Result};
