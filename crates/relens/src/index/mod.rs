//! Nearest vectors of a query; the best k of its scores are found by partial selection.

pub mod exact;
mod vector_file;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::embed::embeddings::Embeddings;
use crate::error::{Error, Result};

pub use exact::ExactIndex;
pub(crate) use exact::best_rows;

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

/// A vector found, and how near it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The number under which the vector was added.
    pub id: u64,
    /// Its dot product with the query.
    pub score: f32,
}

impl Hit {
    /// Best first: higher score, then lower id, so that the order never depends on threads or storage.
    ///
    /// Scores are finite here; `total_cmp` is not used because it would part 0 from −0.
    pub fn ranking_order(&self, other: &Self) -> Ordering {
        other.score.partial_cmp(&self.score).unwrap_or(Ordering::Equal).then(self.id.cmp(&other.id))
    }
}

/// Keeps the best `k` hits in a buffer of twice that size, cut back by selection whenever it is full: each hit costs
/// one comparison in the common case, and amortised O(1) otherwise.
#[derive(Debug, Clone)]
pub(crate) struct TopK {
    k: usize,
    hits: Vec<Hit>,
    /// The k-th best at the last cut: what is worse cannot come back.
    worst_kept: Option<Hit>,
}

impl TopK {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, hits: Vec::new(), worst_kept: None }
    }

    pub(crate) fn push(&mut self, hit: Hit) {
        if self.worst_kept.is_some_and(|worst| hit.ranking_order(&worst).is_ge()) {
            return;
        }
        self.hits.push(hit);
        if self.hits.len() >= self.k.saturating_mul(2).max(64) {
            self.cut();
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        other.hits.into_iter().for_each(|hit| self.push(hit));
    }

    /// The best `k`, best first.
    pub(crate) fn into_sorted(mut self) -> Vec<Hit> {
        self.cut();
        self.hits.sort_unstable_by(Hit::ranking_order);
        self.hits
    }

    fn cut(&mut self) {
        if self.k == 0 {
            self.hits.clear();
        } else if self.hits.len() > self.k {
            let (_, kth, _) = self.hits.select_nth_unstable_by(self.k - 1, Hit::ranking_order);
            self.worst_kept = Some(*kth);
            self.hits.truncate(self.k);
        }
    }
}
