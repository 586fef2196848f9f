//! T5 (Raffel et al., 2020), its version 1.1 and Flan-T5: an encoder that reads the prompt and a decoder that writes.
//!
//! Tensor names and the configuration are those of Hugging Face. What differs between the versions is in
//! [`T5Config`]: the feed-forward part is plain or gated, the output layer is the embedding table (and its input
//! scaled by 1/√d_model) or has a weight of its own. Positions enter only as a bias on the attention scores, by
//! distance; queries are not scaled; norms neither centre nor shift.

mod attention;
mod checkpointing;
mod config;
mod copying;
mod decoder;
mod encoder;
mod feed_forward;
mod incremental;
mod language_model;
mod model;
mod writer;

pub use config::T5Config;
pub(super) use incremental::T5Decoder;
pub use model::T5Model;
pub(super) use writer::{Memory, Writer};
