//! What every stage stands on: one loop over a `Stage`, with checkpoints, logs and what a run ends with.

pub mod checkpoint;
pub(crate) mod finished_model;
pub mod gradient_cache;
pub mod log;
pub(crate) mod stage;
pub mod trainer;
pub(crate) mod training;
