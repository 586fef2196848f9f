//! Enhancers that work on vectors: what happens to the embeddings of a query's texts before they are combined.

use std::ops::Range;
use std::sync::Arc;

use crate::embed::embeddings::Embeddings;
use crate::error::{Error, Result};

/// Changes the embeddings of some texts of one query.
pub trait RefineEmbeddings: Send + Sync {
    /// Changes the rows in place.
    ///
    /// # Shapes
    /// - `rows`: `[texts, dim]`, row-major; L2-normalised before and after
    ///
    /// # Errors
    /// [`Error::Enhancer`] if the rows do not fit, for example in their dimension.
    fn refine(&self, rows: &mut [f32], dim: usize) -> Result<()>;
}

/// What is to be done with the embeddings of the texts in a range.
#[derive(Clone)]
pub struct Refinement {
    /// Which texts of the query.
    pub texts: Range<usize>,
    /// What is done with them.
    pub by: Arc<dyn RefineEmbeddings>,
}

impl std::fmt::Debug for Refinement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Refinement").field("texts", &self.texts).finish_non_exhaustive()
    }
}

impl PartialEq for Refinement {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts && Arc::ptr_eq(&self.by, &other.by)
    }
}

impl Refinement {
    /// Refines the rows of this query, whose texts begin at row `first` of `embeddings`.
    pub(crate) fn apply(&self, embeddings: &mut Embeddings, first: usize) -> Result<()> {
        let dim = embeddings.dim();
        let rows = (first + self.texts.start) * dim..(first + self.texts.end) * dim;
        let found = embeddings.rows();
        let rows = embeddings.as_mut_slice().get_mut(rows).ok_or_else(|| Error::Argument {
            operation: "Refinement::apply",
            expected: format!("embeddings of the texts {:?}", self.texts),
            found: format!("{found} rows"),
        })?;
        self.by.refine(rows, dim)
    }
}
