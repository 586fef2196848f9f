//! What happens to a query: retrievers, indexes, catalogues, enhancers, evaluation.

pub mod append_log;
mod archive;
pub mod bundled;
pub mod calibration;
pub mod catalog;
pub mod dataset;
pub mod embeddings;
pub mod enhancer;
pub mod error;
pub mod evaluation;
pub mod evd;
pub mod explanation;
pub mod index;
pub mod library;
pub mod llm;
pub mod long_text;
pub mod model_hub;
mod parquet_archive;
pub mod pipeline;
pub mod reference_pairs;
pub mod remembering_embedder;
pub mod retriever;
mod retriever_roles;
pub mod sentence_encoder;
mod similarity;
mod storage_error;
mod tar_archive;
pub mod video;
pub mod wordnet;

/// The README's program must compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
