//! Decoders of the Llama family: Llama 2 and 3, Vicuna, SmolLM2, Qwen 2, 2.5 and 3, Baichuan and Baichuan 2.
//!
//! All of them are the same network (Touvron et al., 2023): blocks of causal attention and a gated feed-forward part,
//! each behind a root-mean-square norm. [`LlamaConfig`] says in which points they differ, [`LlamaModel`] computes them
//! on packed batches, differentiably.

mod alibi;
mod attention;
mod checkpointing;
mod config;
mod config_file;
mod feed_forward;
mod head;
mod incremental;
mod language_model;
mod model;
mod open;
mod rotary_angles;

pub use config::{HeadKind, LlamaConfig, Positions, Projections, RotaryConfig, RotaryScaling};
pub use model::LlamaModel;
