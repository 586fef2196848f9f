//! Training a large network by a small addition (LoRA; Hu et al., 2022).
//!
//! A [`LoraAdapter`] adds scale · x·A·B to the linear maps that it targets, with A and B of low rank; B begins at
//! zero, so the network begins as it was. A and B alone are trained. The adapter is given to
//! [`Parameters`](crate::parameters::Parameters) before the network is built, so that it works for every architecture;
//! its files are those of the PEFT library.

mod adapter;
mod config;
mod files;
mod low_rank_map;

pub use adapter::{LoraAdapter, TrainingDropout};
pub use config::LoraConfig;
pub(crate) use low_rank_map::AdapterMode;
pub use low_rank_map::LowRankMap;
