//! How do texts and pictures become vectors of one space, and how are vectors kept?

pub mod embedding_cache;
pub mod embeddings;
pub mod long_text;
pub mod remembering_embedder;
pub mod retriever;
mod retriever_roles;
pub mod sentence_encoder;
pub(crate) mod similarity;
