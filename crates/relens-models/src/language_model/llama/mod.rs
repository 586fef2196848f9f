//! Decoders of the Llama family: Llama 2 and 3, Vicuna, SmolLM2, Qwen 2, 2.5 and 3, Baichuan and Baichuan 2.
//!
//! All of them are the same network (Touvron et al., 2023): blocks of causal attention and a gated feed-forward part,
//! each behind a root-mean-square norm. [`LlamaConfig`] says in which points they differ, [`LlamaModel`] computes them
//! on packed batches, differentiably.

mod block;
mod config;
mod config_file;
mod incremental;
mod language_model;
mod model;
mod positions;

pub use config::{LlamaConfig, OutputLayer, Positions, Projections, RotaryConfig, RotaryScaling};
pub use model::LlamaModel;
