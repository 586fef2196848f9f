//! How a retriever and a rewriter learn.

pub mod data;
pub mod error;
pub mod mining;
pub mod objectives;
pub mod optimizer;
pub mod random;
pub mod reward;
pub mod run;
pub mod schedule;
pub mod stages;

pub use error::{Result, TrainingError};
