//! How a retriever and a rewriter learn.

pub mod checkpoint;
pub mod error;
pub mod gradient_cache;
pub mod mining;
pub mod objectives;
pub mod optimizer;
pub mod progress;
pub mod random;
pub mod reward;
pub mod rewriting;
pub mod run_log;
pub mod schedule;
pub mod stages;
pub mod trainer;

pub use error::{Result, TrainingError};
