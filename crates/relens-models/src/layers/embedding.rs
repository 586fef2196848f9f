//! A table of vectors, one for each id.

use candle_core::{Device, Tensor};

use crate::ops;
use crate::parameters::Parameters;
use crate::weights::StoredTensor;
use crate::{ModelError, Result};

/// A table of vectors, one for each id.
///
/// A frozen table stays in its file, in the file's element type: only the rows that are asked for are read and
/// widened, so that a large vocabulary costs neither loading time nor memory.
#[derive(Debug, Clone)]
pub struct Embedding {
    table: Table,
    rows: usize,
    width: usize,
}

#[derive(Debug, Clone)]
enum Table {
    Stored(StoredTensor),
    Trained(Tensor),
}

impl Embedding {
    /// Takes `weight`, of shape `[rows, width]`.
    ///
    /// # Errors
    /// When the tensor is missing, of another shape, or of an element type that is not floating point.
    pub fn load(parameters: &Parameters, rows: usize, width: usize) -> Result<Self> {
        let table = if parameters.is_trainable("weight") {
            Table::Trained(parameters.tensor("weight", &[rows, width])?)
        } else {
            Table::Stored(parameters.stored("weight", &[rows, width])?)
        };
        Ok(Self { table, rows, width })
    }

    /// The same table without gradients; it shares the numbers.
    #[must_use]
    pub fn detached(&self) -> Self {
        let table = match &self.table {
            Table::Stored(table) => Table::Stored(table.clone()),
            Table::Trained(table) => Table::Trained(table.detach()),
        };
        Self { table, ..*self }
    }

    /// The number of vectors.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The vectors of the ids.
    ///
    /// # Shapes
    /// - `ids`: `tokens` many
    /// - output: `[tokens, width]`
    ///
    /// # Errors
    /// When an id is outside of the table, or its row in the file is not finite.
    pub fn forward(&self, ids: &[u32]) -> Result<Tensor> {
        let table = match &self.table {
            Table::Trained(table) => return ops::embedding(table, ids),
            Table::Stored(table) => table,
        };
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.rows) {
            return Err(ModelError::Argument {
                operation: "embedding",
                expected: format!("ids below {}", self.rows),
                found: format!("id {id}"),
            });
        }
        // Row by row out of the mapped file: the operating system reads the pages that these ids lie on and no
        // others.
        let mut vectors = vec![0.0f32; ids.len() * self.width];
        for (&id, vector) in ids.iter().zip(vectors.chunks_exact_mut(self.width.max(1))) {
            table.read_row(id as usize, vector)?;
        }
        Ok(Tensor::from_vec(vectors, (ids.len(), self.width), &Device::Cpu)?)
    }
}
