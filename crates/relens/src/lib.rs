//! What happens to a query: retrievers, indexes, catalogues, enhancers, evaluation.

pub mod bundled;
pub mod dataset;
pub mod embeddings;
pub mod error;
mod similarity;
