//! How a retriever and a rewriter learn.

pub mod error;
pub mod objectives;
pub mod optimizer;
pub mod random;
pub mod schedule;

pub use error::{Result, TrainingError};
