//! How does a query become a list of pictures? Indexes, known pairs, hubness, and the pipeline that joins them.

pub mod hubness;
pub mod pipeline;
