//! How a text and an image are computed, and differentiated.

pub mod error;
pub mod image_preprocessing;
pub mod ops;
pub mod weights;

pub use error::{ModelError, Result};
