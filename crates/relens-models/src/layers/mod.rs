//! Layers built from [`Parameters`](crate::parameters::Parameters): frozen or trainable, always differentiable.
//!
//! A layer holds the tensors that it was given. Where these are variables, gradients reach them; where they are
//! frozen, the fused forms of [`crate::ops`] are used. Dropout happens only where a random generator is passed.

mod cross_attention;
mod dropout;
mod embedding;
mod linear;
mod norm;
mod patch_embedding;
mod pre_norm_block;
mod self_attention;

pub use cross_attention::CrossAttention;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use linear::{ConcatenatedLinear, Linear};
pub use norm::{LayerNorm, RmsNorm};
pub use patch_embedding::PatchEmbedding;
pub use pre_norm_block::{BlockNames, FeedForward, PreNormBlock, PreNormBlockConfig, QueryKeyValueNames};
pub use self_attention::SelfAttention;

pub use crate::ops::DropoutGenerator;
