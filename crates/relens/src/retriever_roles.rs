//! The retriever in the two roles that the rest of the crate gives it: it embeds queries, and it embeds files.

use std::borrow::Cow;
use std::path::Path;

use relens_models::image_preprocessing::{RgbImage, decode_image};

use crate::catalog::ModelIdentity;
use crate::embeddings::Embeddings;
use crate::error::Result;
use crate::library::{ImageEmbedder, PreparedImage};
use crate::pipeline::TextEmbedder;
use crate::retriever::Retriever;

impl TextEmbedder for Retriever {
    fn name(&self) -> &str {
        Self::name(self)
    }

    fn fingerprint(&self) -> &str {
        Self::fingerprint(self)
    }

    fn directory(&self) -> Option<&std::path::Path> {
        Some(self.encoder().directory())
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings> {
        Self::embed_texts(self, texts)
    }
}

impl ImageEmbedder for Retriever {
    type Picture = RgbImage;

    fn model(&self) -> ModelIdentity {
        ModelIdentity {
            name: self.name().to_owned(),
            fingerprint: self.fingerprint().to_owned(),
            dim: self.dim(),
        }
    }

    fn prepare(&self, path: &Path) -> Result<PreparedImage<RgbImage>> {
        let original = decode_image(path)?;
        let (width, height) = original.dimensions();
        // A picture that already has the tower's size is handed on as it is.
        let scaled = match self.preprocessor().fit(&original)? {
            Cow::Owned(scaled) => Some(scaled),
            Cow::Borrowed(_) => None,
        };
        Ok(PreparedImage { picture: scaled.unwrap_or(original), width, height })
    }

    fn embed(&self, pictures: &[RgbImage]) -> Result<Embeddings> {
        self.embed_images(pictures)
    }
}
