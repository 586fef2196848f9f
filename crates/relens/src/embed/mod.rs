//! How do texts and pictures become vectors of one space, and how are vectors kept?

mod embedder;
pub mod embedding_cache;
pub mod embeddings;
pub mod long_text;
pub mod memory;
pub mod reference_pairs;
pub mod retriever;
mod retriever_roles;
pub mod sentence_encoder;
pub mod similarity;

pub use embedder::{ImageEmbedder, ModelIdentity, PreparedImage, TextEmbedder};
