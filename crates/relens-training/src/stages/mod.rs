//! Training stages: one folder each, with its own configuration and its own `run`, on shared objectives, optimizer,
//! schedule, checkpoints and logs.

pub mod calibration;
pub mod denoise;
pub mod description;
pub mod fine_tune;
pub mod gate;
pub mod grpo;
mod logistic;
pub mod ppo;
pub mod pro;
pub mod retriever;
pub mod rewriter;
pub mod sft;
