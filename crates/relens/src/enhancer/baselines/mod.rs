//! The papers' rivals, each a method of the literature in a file of its own.

pub mod adapter;
pub mod concat;
pub mod llm;
pub mod retrieval_augmented;
pub mod selection;
pub mod wordnet;
