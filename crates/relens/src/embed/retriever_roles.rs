//! The retriever in the two roles that the rest of the crate gives it: it embeds queries, and it embeds files.

use std::borrow::Cow;
use std::path::Path;

use relens_models::image_preprocessing::RgbImage;

use crate::embed::ModelIdentity;
use crate::embed::TextEmbedder;
use crate::embed::embeddings::Embeddings;
use crate::embed::retriever::Retriever;
use crate::embed::{ImageEmbedder, PreparedImage};
use crate::error::Result;
use crate::pictures::video;

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
    /// The frames of a video; a picture is a video of one frame.
    type Image = Vec<RgbImage>;

    fn model(&self) -> ModelIdentity {
        ModelIdentity {
            name: self.name().to_owned(),
            fingerprint: self.fingerprint().to_owned(),
            dim: self.dim(),
        }
    }

    fn prepare(&self, path: &Path) -> Result<PreparedImage<Vec<RgbImage>>> {
        let originals = video::read_frames(path)?;
        let (width, height) = originals.first().map_or((0, 0), RgbImage::dimensions);
        let mut frames = Vec::with_capacity(originals.len());
        for original in originals {
            // A picture that already has the tower's size is handed on as it is.
            let scaled = match self.preprocessor().fit(&original)? {
                Cow::Owned(scaled) => Some(scaled),
                Cow::Borrowed(_) => None,
            };
            frames.push(scaled.unwrap_or(original));
        }
        Ok(PreparedImage { image: frames, width, height })
    }

    fn embed(&self, pictures: &[Vec<RgbImage>]) -> Result<Embeddings> {
        // Frames are embedded together with those of their neighbours, so that batches are full.
        let frames: Vec<RgbImage> = pictures.iter().flatten().cloned().collect();
        let embedded = self.embed_images(&frames)?;
        if frames.len() == pictures.len() && pictures.iter().all(|frames| frames.len() == 1) {
            return Ok(embedded);
        }
        let mut means = Vec::with_capacity(pictures.len() * self.dim());
        let mut rows = embedded.iter();
        for frames in pictures {
            let mut sum = vec![0.0f32; self.dim()];
            for row in rows.by_ref().take(frames.len()) {
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            means.extend(sum);
        }
        let mut means = Embeddings::from_rows(self.dim(), means)?;
        means.normalise();
        Ok(means)
    }
}
