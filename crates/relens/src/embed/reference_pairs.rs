//! Embedded pairs of captions and pictures that are already known: what moves queries and lowers hubs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use relens_models::ModelError;
use relens_models::weights::{ElementType, Weights, save_tensors};

use crate::embed::embeddings::Embeddings;
use crate::error::{Error, Result};

/// The file beside a retriever that holds reference pairs of its training data.
pub const REFERENCE_FILE: &str = "reference_pairs.safetensors";

/// Captions and pictures of one retriever's space, as many captions of each picture, one picture's after another's.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferencePairs {
    captions: Arc<Embeddings>,
    images: Arc<Embeddings>,
}

impl ReferencePairs {
    /// Takes over embeddings; the first `m / n` captions are of the first picture, and so on.
    ///
    /// # Shapes
    /// - `captions`: `[m, dim]`, `images`: `[n, dim]`; m is a multiple of n
    ///
    /// # Errors
    /// [`Error::Argument`] if these do not fit or there are none; [`Error::NotNormalised`].
    pub fn new(captions: Embeddings, images: Embeddings) -> Result<Self> {
        let (m, n) = (captions.rows(), images.rows());
        if captions.dim() != images.dim() || m == 0 || n == 0 || !m.is_multiple_of(n) {
            return Err(Error::Argument {
                operation: "ReferencePairs::new",
                expected: "captions and pictures of one dimension, as many captions of each picture"
                    .to_owned(),
                found: format!("[{m}, {}] and [{n}, {}]", captions.dim(), images.dim()),
            });
        }
        captions.ensure_normalised("reference captions")?;
        images.ensure_normalised("reference pictures")?;
        Ok(Self { captions: Arc::new(captions), images: Arc::new(images) })
    }

    /// Reads `captions` `[m, dim]` and `images` `[n, dim]` from a safetensors file.
    ///
    /// # Errors
    /// [`Error::Model`] naming the tensor that is missing; those of [`new`](Self::new).
    pub fn open(path: &Path) -> Result<Self> {
        let weights = Weights::open(path)?;
        let read = |name: &str| {
            let shape = weights.shape(name).unwrap_or(&[0, 0]).to_vec();
            let dim = shape.get(1).copied().unwrap_or(0);
            Embeddings::from_rows(dim, weights.stored(name, &shape)?.to_f32()?)
        };
        Self::new(read("captions")?, read("images")?)
    }

    /// Writes them in half precision.
    ///
    /// # Errors
    /// [`Error::Model`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let tensor = |embeddings: &Embeddings| {
            let shape = (embeddings.rows(), embeddings.dim());
            Tensor::from_slice(embeddings.as_slice(), shape, &Device::Cpu).map_err(ModelError::from)
        };
        let tensors = BTreeMap::from([
            ("captions".to_owned(), tensor(&self.captions)?),
            ("images".to_owned(), tensor(&self.images)?),
        ]);
        Ok(save_tensors(path, &tensors, ElementType::F16)?)
    }

    /// The captions, `[m, dim]`.
    pub fn captions(&self) -> &Arc<Embeddings> {
        &self.captions
    }

    /// The pictures, `[n, dim]`.
    pub fn images(&self) -> &Arc<Embeddings> {
        &self.images
    }

    /// The picture of a caption, `[dim]`.
    ///
    /// # Panics
    /// If there is no such caption, as indexing a slice does.
    pub fn image_of(&self, caption: usize) -> &[f32] {
        self.images.row(caption / (self.captions.rows() / self.images.rows()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_stored_and_read() {
        let captions = Embeddings::from_rows(2, vec![1.0, 0.0, 0.6, 0.8, 0.0, 1.0, -0.6, 0.8]).unwrap();
        let images = Embeddings::from_rows(2, vec![0.8, 0.6, 0.0, 1.0]).unwrap();
        let pairs = ReferencePairs::new(captions.clone(), images.clone()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(REFERENCE_FILE);
        pairs.save(&path).unwrap();
        let read = ReferencePairs::open(&path).unwrap();
        let near = |left: &[f32], right: &[f32]| left.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(near(read.captions.as_slice(), captions.as_slice()));
        assert!(near(read.image_of(1), images.row(0)) && near(read.image_of(2), images.row(1)));
        assert!(ReferencePairs::open(&directory.path().join("none")).is_err());
        let three = captions.select(&[0, 1, 2]).unwrap();
        assert!(ReferencePairs::new(three, images).is_err());
        assert!(ReferencePairs::new(captions, Embeddings::new(2)).is_err());
    }
}
