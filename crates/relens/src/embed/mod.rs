//! How do texts and pictures become vectors of one space, and how are vectors kept?
//! [`TextEmbedder`] and [`ImageEmbedder`] are what the rest of the crate sees of a retriever.

pub mod embedding_cache;
pub mod embeddings;
pub mod long_text;
pub mod memory;
pub mod reference_pairs;
pub mod retriever;
mod retriever_roles;
pub mod sentence_encoder;
pub mod similarity;

use std::path::Path;

use crate::embed::embeddings::Embeddings;
use crate::error::Result;

/// The text side of a retriever.
pub trait TextEmbedder: Send + Sync {
    /// What the model is called.
    fn name(&self) -> &str;

    /// The fingerprint of its weights and configuration.
    fn fingerprint(&self) -> &str;

    /// Where its files are, what goes with them included; default: nowhere.
    fn directory(&self) -> Option<&Path> {
        None
    }

    /// Embeds texts, in order.
    ///
    /// # Shapes
    /// - result: `[texts.len(), dim]`, L2-normalised
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) if the model refuses them.
    fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings>;
}

/// The image side of a retriever.
pub trait ImageEmbedder: Sync {
    /// A picture ready for the image tower: small, for some dozens are in memory at a time.
    type Image: Send;

    /// The model.
    fn model(&self) -> ModelIdentity;

    /// Decodes and scales one picture; called on several threads.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) if the file cannot be read; any other for what it holds. The picture is
    /// then left out.
    fn prepare(&self, path: &Path) -> Result<PreparedImage<Self::Image>>;

    /// Embeds pictures, in order.
    ///
    /// # Shapes
    /// - result: `[pictures.len(), dim]`, L2-normalised
    ///
    /// # Errors
    /// If the model fails; the pictures are then tried one by one.
    fn embed(&self, pictures: &[Self::Image]) -> Result<Embeddings>;
}

/// A picture as the image tower takes it, scaled down already.
#[derive(Debug, Clone)]
pub struct PreparedImage<P> {
    /// What [`ImageEmbedder::embed`] takes.
    pub image: P,
    /// The original's width in pixels.
    pub width: u32,
    /// The original's height in pixels.
    pub height: u32,
}

/// The model that made some vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelIdentity {
    /// What it is called.
    pub name: String,
    /// The fingerprint of its weights and configuration.
    pub fingerprint: String,
    /// The number of components of its vectors.
    pub dim: usize,
}
