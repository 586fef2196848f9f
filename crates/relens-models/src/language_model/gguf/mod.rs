//! GGUF, the single-file format of llama.cpp: a decoder with quantised weights, its sizes and its tokenizer.
//!
//! [`Gguf::open`] maps a file and gives its tensors the names that Hugging Face checkpoints have, so that the same
//! code builds a network from either. Blocks of eight and four bits are multiplied as they are; other kinds are
//! rounded to eight bits when a linear map takes them.

mod config;
mod export;
mod file;
mod tokenizer;

pub use file::Gguf;
