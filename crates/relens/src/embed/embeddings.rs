//! Vectors in the space that texts and images share, and their dot products.

use crate::embed::similarity;
use crate::error::{Error, Result};

/// How far from 1 the length of a row may be to count as normalised; half-precision storage stays within it.
pub const NORMALISED_TOLERANCE: f32 = 1e-3;

/// Row-major f32 vectors, `[rows, dim]`.
///
/// Rows of a retriever are L2-normalised, so that a dot product is the cosine similarity.
///
/// ```
/// use relens::embed::embeddings::Embeddings;
///
/// let mut embeddings = Embeddings::new(2);
/// embeddings.push(&[0.6, 0.8])?;
/// embeddings.push(&[1.0, 0.0])?;
/// assert_eq!(embeddings.rows(), 2);
/// assert!(embeddings.ensure_normalised("example").is_ok());
/// assert_eq!(embeddings.scores(&[1.0, 0.0])?, vec![0.6, 1.0]);
/// # Ok::<(), relens::error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    dim: usize,
    data: Vec<f32>,
}

impl Embeddings {
    /// No vectors yet, of `dim` components each.
    pub fn new(dim: usize) -> Self {
        Self { dim, data: Vec::new() }
    }

    /// Takes over row-major `data`, `[data.len() / dim, dim]`.
    ///
    /// # Errors
    /// [`Error::Argument`] if `dim` is 0 or does not divide the number of values.
    pub fn from_rows(dim: usize, data: Vec<f32>) -> Result<Self> {
        if dim == 0 || !data.len().is_multiple_of(dim) {
            return Err(Error::Argument {
                operation: "Embeddings::from_rows",
                expected: format!("a multiple of the dimension {dim} (at least 1)"),
                found: format!("{} values", data.len()),
            });
        }
        Ok(Self { dim, data })
    }

    /// The number of components of each vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of vectors.
    pub fn rows(&self) -> usize {
        self.data.len().checked_div(self.dim).unwrap_or(0)
    }

    /// Whether there are no vectors.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The vector at `index`.
    ///
    /// # Panics
    /// If `index` is not below [`rows`](Self::rows), as a slice does.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.dim..(index + 1) * self.dim]
    }

    /// The vector at `index`, or `None` beyond the end.
    pub fn get(&self, index: usize) -> Option<&[f32]> {
        (index < self.rows()).then(|| self.row(index))
    }

    /// The vectors in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.dim.max(1))
    }

    /// All values, row-major `[rows, dim]`.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// All values to be changed in place, row-major `[rows, dim]`.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Gives the values away, row-major `[rows, dim]`.
    pub fn into_vec(self) -> Vec<f32> {
        self.data
    }

    /// Appends one vector.
    ///
    /// # Errors
    /// [`Error::Argument`] if it has another dimension.
    pub fn push(&mut self, row: &[f32]) -> Result<()> {
        self.check_dim("Embeddings::push", row.len())?;
        self.data.extend_from_slice(row);
        Ok(())
    }

    /// Appends all vectors of `other`.
    ///
    /// # Errors
    /// [`Error::Argument`] if they have another dimension.
    pub fn append(&mut self, other: &Self) -> Result<()> {
        self.check_dim("Embeddings::append", other.dim)?;
        self.data.extend_from_slice(&other.data);
        Ok(())
    }

    /// The vectors at `indices`, in that order.
    ///
    /// # Errors
    /// [`Error::Argument`] if an index is beyond the end.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        let mut selected = Vec::with_capacity(indices.len() * self.dim);
        for &index in indices {
            let row = self.get(index).ok_or_else(|| Error::Argument {
                operation: "Embeddings::select",
                expected: format!("indices below {}", self.rows()),
                found: index.to_string(),
            })?;
            selected.extend_from_slice(row);
        }
        Ok(Self { dim: self.dim, data: selected })
    }

    /// The dot product of `query` with every row, `[rows]`.
    ///
    /// # Errors
    /// [`Error::Argument`] if `query` has another dimension.
    pub fn scores(&self, query: &[f32]) -> Result<Vec<f32>> {
        self.check_dim("Embeddings::scores", query.len())?;
        let mut scores = vec![0.0; self.rows()];
        similarity::scores(query, &self.data, self.dim, &mut scores);
        Ok(scores)
    }

    /// Scales every row to length 1. A row of zeros stays as it is, and `ensure_normalised` will name it.
    pub fn normalise(&mut self) {
        for row in self.data.chunks_exact_mut(self.dim.max(1)) {
            let length = length(row);
            if length > 0.0 {
                row.iter_mut().for_each(|value| *value /= length);
            }
        }
    }

    /// Refuses NaN and infinities.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the first place; `what` names the vectors in it.
    pub fn ensure_finite(&self, what: &str) -> Result<()> {
        match self.data.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(position) => Err(Error::NonFinite {
                what: what.to_owned(),
                row: position / self.dim,
                component: position % self.dim,
                found: self.data[position],
            }),
        }
    }

    /// Refuses rows that are not finite or not of length 1 (within [`NORMALISED_TOLERANCE`]).
    ///
    /// # Errors
    /// [`Error::NonFinite`] or [`Error::NotNormalised`] with the first such row; `what` names the vectors in it.
    pub fn ensure_normalised(&self, what: &str) -> Result<()> {
        for (row, vector) in self.iter().enumerate() {
            // Whole libraries are checked when they are opened, so the exact length is a second look.
            let mut squared = [f32::NAN];
            similarity::scores(vector, vector, self.dim, &mut squared);
            if (squared[0] - 1.0).abs() <= NORMALISED_TOLERANCE {
                continue;
            }
            self.ensure_finite(what)?;
            let found = length(vector);
            if (found - 1.0).abs() > NORMALISED_TOLERANCE {
                return Err(Error::NotNormalised { what: what.to_owned(), row, found });
            }
        }
        Ok(())
    }

    fn check_dim(&self, operation: &'static str, found: usize) -> Result<()> {
        if found == self.dim {
            return Ok(());
        }
        Err(Error::Argument {
            operation,
            expected: format!("vectors of {} components", self.dim),
            found: format!("{found} components"),
        })
    }
}

/// Euclidean length, summed in f64: rows are long and their lengths are compared to 1.
fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_another_dimension_is_refused() {
        let mut embeddings = Embeddings::new(3);
        let error = embeddings.push(&[1.0, 0.0]).unwrap_err().to_string();
        assert_eq!(error, "Embeddings::push: expected vectors of 3 components, found 2 components");
        assert!(Embeddings::from_rows(3, vec![0.0; 7]).is_err());
        assert!(Embeddings::from_rows(0, vec![]).is_err());
    }

    #[test]
    fn rows_selected_keep_the_order_asked_for() {
        let embeddings = Embeddings::from_rows(1, vec![1.0, 2.0, 3.0]).unwrap();
        assert_eq!(embeddings.select(&[2, 0]).unwrap().into_vec(), vec![3.0, 1.0]);
        assert!(embeddings.select(&[3]).is_err());
        assert_eq!(embeddings.get(3), None);
    }

    #[test]
    fn normalisation_is_checked_and_names_the_row() {
        let mut embeddings = Embeddings::from_rows(2, vec![1.0, 0.0, 3.0, 4.0]).unwrap();
        let error = embeddings.ensure_normalised("the gallery").unwrap_err().to_string();
        assert_eq!(error, "the gallery: row 1 has length 5, expected 1 (L2-normalised)");
        embeddings.normalise();
        assert_eq!(embeddings.row(1), &[0.6, 0.8]);
        embeddings.ensure_normalised("the gallery").unwrap();
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let embeddings = Embeddings::from_rows(2, vec![1.0, 0.0, f32::NAN, 0.0]).unwrap();
        let error = embeddings.ensure_finite("queries").unwrap_err().to_string();
        assert_eq!(error, "queries: row 1 holds NaN at component 0, expected finite numbers");
        let mut zeros = Embeddings::from_rows(2, vec![0.0, 0.0]).unwrap();
        zeros.normalise();
        assert!(zeros.ensure_normalised("zeros").is_err());
    }

    #[test]
    fn no_vectors_are_no_rows() {
        let none = Embeddings::new(4);
        assert_eq!((none.rows(), none.is_empty(), none.iter().len()), (0, true, 0));
        assert!(none.scores(&[0.0; 4]).unwrap().is_empty());
    }
}
