//! A BERT that reads and a T5 that writes: the text trunk of a retriever as the encoder of its rewriter.
//!
//! A trunk that was trained on a billion sentences knows that "pooch" is near "dog" before the rewriter has seen a
//! single pair, so a small decoder on top of it, and little data, are enough. Three things make what it reads easy to
//! write from:
//!
//! - the decoder's vocabulary is the first part of the encoder's: what captions consist of. Everything can be read,
//!   what comes after `decoder.vocab_size` cannot be written, and the output layer stays small;
//! - it attends to the trunk's last states *and* to the embeddings of the word and of the word before it, which say
//!   what stood there, where the last states say what it means;
//! - the decoder copies: a last attention adds the embedding of a token of the prompt to the state.

mod config;
mod model;

pub use config::BertT5Config;
pub use model::BertT5Model;
