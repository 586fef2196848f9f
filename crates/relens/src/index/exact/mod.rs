//! Every vector compared with every query: no recall lost, fast enough up to about 100,000 vectors.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;

use super::vector_file::{self, Vectors};
use super::{Hit, Index, TopK};
use crate::embed::embeddings::Embeddings;
use crate::embed::similarity;
use crate::error::{Error, Result};

/// Vectors that one task compares: small enough to share a search among threads, large enough to be worth a task.
const ROWS_PER_TASK: usize = 2048;
/// Queries that share one pass over those vectors.
const QUERIES_PER_TASK: usize = 16;

/// An index that is exact.
///
/// ```
/// use relens::embed::embeddings::Embeddings;
/// use relens::index::{ExactIndex, Index};
///
/// let mut index = ExactIndex::new(2, "model-a")?;
/// index.add(&[10, 20], &Embeddings::from_rows(2, vec![1.0, 0.0, 0.0, 1.0])?)?;
/// let hits = index.search(&Embeddings::from_rows(2, vec![0.6, 0.8])?, 1)?;
/// assert_eq!((hits[0][0].id, hits[0][0].score), (20, 0.8));
/// assert!(index.ensure_model("model-b").is_err());
/// # Ok::<(), relens::error::Error>(())
/// ```
#[derive(Debug)]
pub struct ExactIndex {
    dim: usize,
    fingerprint: String,
    ids: Vec<u64>,
    vectors: Vectors,
    /// Where each id's vector is; made at the first change, since a search has no use for it.
    positions: Option<HashMap<u64, usize>>,
}

impl ExactIndex {
    /// An empty index for vectors of `dim` components made by the model `fingerprint`.
    ///
    /// # Errors
    /// [`Error::Argument`] if `dim` is 0.
    pub fn new(dim: usize, fingerprint: &str) -> Result<Self> {
        Self::from_parts(fingerprint, Vec::new(), Embeddings::new(dim))
    }

    /// An index of `vectors` under `ids`; only their numbers are compared, so that a library opens fast.
    ///
    /// # Errors
    /// [`Error::Argument`] if the numbers of ids and vectors differ, or the vectors have no components.
    pub fn from_parts(fingerprint: &str, ids: Vec<u64>, vectors: Embeddings) -> Result<Self> {
        let dim = vectors.dim();
        if dim == 0 || ids.len() != vectors.rows() {
            return Err(Error::Argument {
                operation: "ExactIndex::from_parts",
                expected: "as many ids as vectors, of at least 1 component".to_owned(),
                found: format!("{} ids, {} vectors of {dim} components", ids.len(), vectors.rows()),
            });
        }
        let vectors = Vectors::in_memory(vectors.into_vec());
        Ok(Self { dim, fingerprint: fingerprint.to_owned(), ids, vectors, positions: None })
    }

    /// Maps a file written by [`save`](Self::save), made by the model `fingerprint`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged file, [`Error::NewerFormat`], [`Error::OtherModel`] or [`Error::Io`].
    pub fn open(path: &Path, fingerprint: &str) -> Result<Self> {
        let file = vector_file::open(path)?;
        if file.fingerprint != fingerprint {
            return Err(Error::OtherModel {
                what: path.display().to_string(),
                expected: file.fingerprint,
                found: fingerprint.to_owned(),
            });
        }
        Ok(Self {
            dim: file.dim,
            fingerprint: file.fingerprint,
            ids: file.ids,
            vectors: file.vectors,
            positions: None,
        })
    }

    /// The numbers of all vectors, in the order in which they lie.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// Writes the index, replacing the file at `path` in one step: after a crash there is the old file or the new.
    ///
    /// # Errors
    /// [`Error::DiskFull`] or [`Error::Io`]; the old file is then untouched.
    pub fn save(&self, path: &Path) -> Result<()> {
        vector_file::write(path, &self.fingerprint, self.dim, &self.ids, self.vectors.as_slice())
    }

    fn positions(&mut self) -> &mut HashMap<u64, usize> {
        let ids = &self.ids;
        self.positions
            .get_or_insert_with(|| ids.iter().enumerate().map(|(position, &id)| (id, position)).collect())
    }
}

impl Index for ExactIndex {
    fn add(&mut self, ids: &[u64], vectors: &Embeddings) -> Result<()> {
        if ids.len() != vectors.rows() || vectors.dim() != self.dim {
            return Err(Error::Argument {
                operation: "ExactIndex::add",
                expected: format!("{} vectors of {} components", ids.len(), self.dim),
                found: format!("{} of {}", vectors.rows(), vectors.dim()),
            });
        }
        vectors.ensure_normalised("vectors to be indexed")?;
        for (&id, vector) in ids.iter().zip(vectors.iter()) {
            let end = self.ids.len();
            let position = *self.positions().entry(id).or_insert(end);
            let stored = self.vectors.to_mut();
            if position == end {
                self.ids.push(id);
                stored.extend_from_slice(vector);
            } else {
                stored[position * self.dim..][..self.dim].copy_from_slice(vector);
            }
        }
        Ok(())
    }

    fn remove(&mut self, ids: &[u64]) -> Result<usize> {
        let mut removed = 0;
        for id in ids {
            let Some(position) = self.positions().remove(id) else { continue };
            // The last vector takes the free place, so that removal never moves the others.
            let last = self.ids.len() - 1;
            self.ids.swap_remove(position);
            let dim = self.dim;
            let stored = self.vectors.to_mut();
            stored.copy_within(last * dim.., position * dim);
            stored.truncate(last * dim);
            if let Some(&moved) = self.ids.get(position) {
                self.positions().insert(moved, position);
            }
            removed += 1;
        }
        Ok(removed)
    }

    fn search(&self, queries: &Embeddings, k: usize) -> Result<Vec<Vec<Hit>>> {
        if queries.dim() != self.dim {
            return Err(Error::Argument {
                operation: "ExactIndex::search",
                expected: format!("queries of {} components", self.dim),
                found: format!("{} components", queries.dim()),
            });
        }
        queries.ensure_finite("queries")?;
        let k = k.min(self.len());
        let query_blocks: Vec<&[f32]> = queries.as_slice().chunks(QUERIES_PER_TASK * self.dim).collect();
        let found = query_blocks.into_par_iter().flat_map_iter(|block| {
            best_rows(block, self.vectors.as_slice(), self.dim, k, |position| self.ids[position])
        });
        Ok(found.collect())
    }

    fn vectors(&self, ids: &[u64]) -> Result<Embeddings> {
        // One pass for all ids: a search has no map from ids to positions, and must not wait for one.
        let mut wanted: HashMap<u64, Option<usize>> = ids.iter().map(|&id| (id, None)).collect();
        for (position, id) in self.ids.iter().enumerate() {
            if let Some(found) = wanted.get_mut(id) {
                *found = Some(position);
            }
        }
        let mut vectors = Embeddings::new(self.dim);
        for id in ids {
            let position = wanted.get(id).copied().flatten().ok_or_else(|| Error::Argument {
                operation: "ExactIndex::vectors",
                expected: "an id of the index".to_owned(),
                found: id.to_string(),
            })?;
            vectors.push(&self.vectors.as_slice()[position * self.dim..][..self.dim])?;
        }
        Ok(vectors)
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// The best `k` of `rows` for each of a few queries, best first.
///
/// # Shapes
/// - `queries`: `[m, dim]`, `rows`: `[n, dim]`, both row-major; `id(row)` is what the row is called in the hits
pub(crate) fn best_rows(
    queries: &[f32],
    rows: &[f32],
    dim: usize,
    k: usize,
    id: impl Fn(usize) -> u64 + Sync,
) -> Vec<Vec<Hit>> {
    let count = queries.len() / dim.max(1);
    let none = || vec![TopK::new(k); count];
    let best = rows
        .par_chunks(ROWS_PER_TASK * dim.max(1))
        .enumerate()
        .fold(none, |mut best, (task, rows)| {
            let in_task = rows.len() / dim;
            let mut scores = vec![0.0; count * in_task];
            similarity::scores_batch(queries, rows, dim, &mut scores);
            for (best, scores) in best.iter_mut().zip(scores.chunks_exact(in_task)) {
                for (row, &score) in (task * ROWS_PER_TASK..).zip(scores) {
                    best.push(Hit { id: id(row), score });
                }
            }
            best
        })
        .reduce(none, |mut left, right| {
            left.iter_mut().zip(right).for_each(|(left, right)| left.merge(right));
            left
        });
    best.into_iter().map(TopK::into_sorted).collect()
}

#[cfg(test)]
mod tests;
