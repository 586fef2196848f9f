//! Training data for rewriters, mined from the retriever's own mistakes.

pub mod record;
