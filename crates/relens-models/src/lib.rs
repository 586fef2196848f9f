//! How a text and an image are computed, and differentiated.

pub mod error;

pub use error::{ModelError, Result};
