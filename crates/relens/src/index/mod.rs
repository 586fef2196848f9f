//! Nearest vectors of a query.

pub mod exact;
mod top_k;
mod vector_file;

use crate::embed::embeddings::Embeddings;
use crate::error::{Error, Result};
pub use exact::ExactIndex;
pub(crate) use exact::best_rows;
pub use top_k::Hit;
pub(crate) use top_k::TopK;

/// Vectors under numbers, and the nearest of them.
///
/// An index carries the fingerprint of the model that made its vectors: those of another model live in another space,
/// where a search would give plausible nonsense. Whoever adds or searches calls [`ensure_model`](Self::ensure_model).
pub trait Index: Send + Sync {
    /// Adds L2-normalised vectors under `ids`, one each; a vector that is there under the same id is replaced.
    ///
    /// # Errors
    /// [`Error::Argument`] if the numbers of ids and vectors or the dimensions differ, [`Error::NonFinite`] and
    /// [`Error::NotNormalised`] for vectors that give no cosine. Nothing is added then.
    fn add(&mut self, ids: &[u64], vectors: &Embeddings) -> Result<()>;

    /// Removes the vectors under `ids`, and says how many there were.
    ///
    /// # Errors
    /// Those of the storage.
    fn remove(&mut self, ids: &[u64]) -> Result<usize>;

    /// The `k` best hits of every query, best first; equal scores in the order of their ids. Fewer if there are fewer.
    ///
    /// # Errors
    /// [`Error::Argument`] if the queries have another dimension, [`Error::NonFinite`] if one cannot be ranked.
    fn search(&self, queries: &Embeddings, k: usize) -> Result<Vec<Vec<Hit>>>;

    /// The vectors under `ids`, in their order.
    ///
    /// # Errors
    /// [`Error::Argument`] naming an id that is not there.
    fn vectors(&self, ids: &[u64]) -> Result<Embeddings>;

    /// The number of vectors.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of components of each vector.
    fn dim(&self) -> usize;

    /// The fingerprint of the model that made the vectors.
    fn fingerprint(&self) -> &str;

    /// Refuses a model that did not make these vectors.
    ///
    /// # Errors
    /// [`Error::OtherModel`] with both fingerprints.
    fn ensure_model(&self, fingerprint: &str) -> Result<()> {
        if self.fingerprint() == fingerprint {
            return Ok(());
        }
        Err(Error::OtherModel {
            what: "the index".to_owned(),
            expected: self.fingerprint().to_owned(),
            found: fingerprint.to_owned(),
        })
    }
}
