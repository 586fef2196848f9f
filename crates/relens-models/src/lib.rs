//! How a text and an image are computed, and differentiated.

pub mod architecture;
pub mod atomic_file;
pub mod bert;
pub mod dual_encoder;
pub mod efficientnet;
pub mod error;
pub mod eva02;
pub mod generation;
pub mod gguf;
pub mod image_preprocessing;
pub mod language_model;
pub mod layers;
pub mod llama;
pub mod lora;
pub mod modified_resnet;
pub mod ops;
mod panel_convolution;
pub mod t5;
pub mod text_transformer;
pub mod tokenizer;
pub mod vision_transformer;
pub mod weights;

pub use error::{ModelError, Result};
