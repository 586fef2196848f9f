//! The keys and values that one attention layer keeps of earlier tokens.

use candle_core::Tensor;

use crate::ops::{CachedSequence, TensorElements};
use crate::{ModelError, Result};

/// Keys and values of several rows, each as long as it needs to be.
#[derive(Debug, Clone)]
pub struct KeyValueCache {
    rows: Vec<Row>,
    width: usize,
}

#[derive(Debug, Clone, Default)]
struct Row {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KeyValueCache {
    /// Empty rows; a key has `width` numbers, and so has a value.
    pub fn new(rows: usize, width: usize) -> Self {
        Self { rows: vec![Row::default(); rows], width: width.max(1) }
    }

    /// The number of tokens kept in a row; 0 for a row that does not exist.
    pub fn length(&self, row: usize) -> usize {
        self.rows.get(row).map_or(0, |row| row.keys.len() / self.width)
    }

    /// Adds new tokens to every row.
    ///
    /// # Shapes
    /// - `projected`: `[new_tokens, ..]`, the keys from column `first` on, the values after them
    /// - `offsets`: `rows + 1` many, ascending from 0 to `new_tokens`
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn append(&mut self, projected: &Tensor, first: usize, offsets: &[usize]) -> Result<()> {
        let projected = projected.contiguous()?;
        let (tokens, stride) = projected.dims2()?;
        let end = first + 2 * self.width;
        let covers = offsets.first() == Some(&0) && offsets.last() == Some(&tokens) && offsets.is_sorted();
        if end > stride || !covers || offsets.len() != self.rows.len() + 1 {
            return Err(ModelError::Argument {
                operation: "KeyValueCache::append",
                expected: format!("[new_tokens, {end} or more] for {} rows", self.rows.len()),
                found: format!("[{tokens}, {stride}] and {} offsets", offsets.len()),
            });
        }
        let elements = TensorElements::of(&projected);
        let elements = elements.get()?;
        for (row, pair) in self.rows.iter_mut().zip(offsets.windows(2)) {
            for token in elements[pair[0] * stride..pair[1] * stride].chunks_exact(stride) {
                // Each row has buffers of its own: rows grow by different numbers of tokens and leave at different
                // times.
                row.keys.extend_from_slice(&token[first..first + self.width]);
                row.values.extend_from_slice(&token[first + self.width..end]);
            }
        }
        Ok(())
    }

    /// What attention reads, row by row.
    pub fn sequences(&self) -> Vec<CachedSequence<'_>> {
        self.rows.iter().map(Row::sequence).collect()
    }

    /// What attention reads of these rows, which may repeat. A row that does not exist is left out.
    pub fn sequences_of(&self, rows: &[usize]) -> Vec<CachedSequence<'_>> {
        rows.iter().filter_map(|&row| self.rows.get(row)).map(Row::sequence).collect()
    }

    /// Replaces the rows by copies: the new row `i` is what was row `rows[i]`. One that does not exist is left out.
    pub fn reorder(&mut self, rows: &[usize]) {
        // The last use of a row moves it; only repeated rows are copied.
        let mut uses = vec![0usize; self.rows.len()];
        for &row in rows {
            if let Some(uses) = uses.get_mut(row) {
                *uses += 1;
            }
        }
        let mut reordered = Vec::with_capacity(rows.len());
        for &row in rows {
            if let (Some(uses), Some(old)) = (uses.get_mut(row), self.rows.get_mut(row)) {
                *uses -= 1;
                reordered.push(if *uses == 0 { std::mem::take(old) } else { old.clone() });
            }
        }
        self.rows = reordered;
    }

    /// Forgets all but the first `length` tokens of a row.
    pub fn truncate(&mut self, row: usize, length: usize) {
        if let Some(row) = self.rows.get_mut(row) {
            row.keys.truncate(length * self.width);
            row.values.truncate(length * self.width);
        }
    }
}

impl Row {
    fn sequence(&self) -> CachedSequence<'_> {
        CachedSequence { keys: &self.keys, values: &self.values }
    }
}
