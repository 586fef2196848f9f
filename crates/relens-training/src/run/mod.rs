//! What is around a stage while it runs: checkpoints, logs, epochs.

pub mod checkpoint;
pub mod epochs;
pub mod gradient_cache;
pub mod log;
pub mod trainer;
