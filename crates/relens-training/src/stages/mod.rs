//! Training stages: one folder each, with its own configuration and its own `run`, on shared objectives, optimizer,
//! schedule, checkpoints and logs.

pub mod retriever;
