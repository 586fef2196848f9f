//! How does a query become a list of pictures? The [`Pipeline`] and its steps.

mod combined_queries;
pub mod fit;
pub mod hubness;
mod merge;
pub mod pipeline;
pub mod pipeline_config;
pub mod relevance_feedback;

pub use combined_queries::CombinedQueries;
pub use merge::Merge;
pub use pipeline::{Evidence, Pipeline, Ranking};
