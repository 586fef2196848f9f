//! How a text and an image are computed, and differentiated.

pub mod atomic_file;
pub mod dual_encoder;
pub mod error;
pub mod image_preprocessing;
pub mod language_model;
pub mod layers;
pub mod lora;
pub mod ops;
pub mod parameters;
pub mod tokenizer;
pub mod towers;
pub mod weights;

pub use error::{ModelError, Result};
