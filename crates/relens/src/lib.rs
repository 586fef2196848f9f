//! What happens to a query: retrievers, indexes, catalogues, enhancers, evaluation.

pub mod append_log;
pub mod dataset;
pub mod embed;
pub mod english;
pub mod enhancer;
pub mod error;
pub mod evaluation;
pub mod explanation;
pub mod index;
pub mod knowledge;
pub mod library;
pub mod llm;
pub mod model_hub;
pub mod pictures;
pub mod progress;
pub mod ranking;
mod sqlite_error;
mod storage_error;

/// The README's program must compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
