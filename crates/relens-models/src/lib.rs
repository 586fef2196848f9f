//! How a text and an image are computed, and differentiated.

pub mod error;
pub mod ops;
pub mod weights;

pub use error::{ModelError, Result};
