//! How a text and an image become vectors, how a text is continued, and how gradients flow through both.
//!
//! From a model's directory to numbers:
//!
//! - [`Tokenizer`](tokenizer::Tokenizer) cuts texts into a packed [`TokenBatch`](tokenizer::TokenBatch), and
//!   [`Preprocessor`](image_preprocessing::Preprocessor) makes an image file what an image tower reads;
//! - [`DualEncoder`](dual_encoder::DualEncoder) opens a CLIP, SigLIP, CoCa, EVA-02-CLIP or Chinese-CLIP in the layouts
//!   of open_clip and Hugging Face, and embeds both; its networks are in [`towers`];
//! - [`LanguageModel`](language_model::LanguageModel) is a T5 or a decoder of the Llama family, from a directory or a
//!   GGUF file, and [`generate`](language_model::generation::generate) continues prompts with it.
//!
//! What these are built from:
//!
//! - [`Weights`](weights::Weights) maps a checkpoint, and [`Parameters`](parameters::Parameters) hands out its tensors,
//!   frozen or as variables that training moves;
//! - [`LoraAdapter`](lora::LoraAdapter) adds a small trainable part to the linear maps of any network;
//! - [`layers`] hold tensors, [`ops`] are the kernels below them: f32 in main memory, each with a backward pass;
//! - [`atomic_file`] writes files that are there whole or not at all.
//!
//! A batch is never padded. The tokens of its sequences lie one after the other, and offsets say where each begins, so
//! that every kernel works on real tokens only:
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use relens_models::ops::{AttentionConfig, AttentionMask, attention, l2_normalize, mean_pool};
//!
//! // Two texts of three tokens and of one. A row holds a token's query, key and value: 3 · 4 numbers.
//! let numbers: Vec<f32> = (0..4 * 12).map(|i| (i as f32 * 0.37).sin()).collect();
//! let qkv = Var::from_tensor(&Tensor::from_vec(numbers, (4, 12), &Device::Cpu)?)?;
//! let offsets = [0, 3, 4];
//!
//! let config = AttentionConfig::new(2, AttentionMask::Causal);
//! let attended = attention(qkv.as_tensor(), &offsets, &config)?;
//! let embeddings = l2_normalize(&mean_pool(&attended, &offsets)?)?;
//! assert_eq!(embeddings.dims(), [2, 4]);
//!
//! // A text of one token attends to itself alone: its embedding is its own value, at length one.
//! let value = qkv.narrow(0, 3, 1)?.narrow(1, 8, 4)?;
//! let distance = (embeddings.narrow(0, 1, 1)? - l2_normalize(&value)?)?.abs()?.max_all()?;
//! assert!(distance.to_scalar::<f32>()? < 1e-6);
//!
//! // Every operation lets gradients through.
//! let gradients = embeddings.sum_all()?.backward()?;
//! assert_eq!(gradients.get(&qkv).map(Tensor::dims), Some(&[4, 12][..]));
//! # Ok::<(), relens_models::ModelError>(())
//! ```

pub mod atomic_file;
mod config_limits;
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
