//! Incremental decoding: a few tokens of every row at a time, and the keys and values that are kept of earlier ones.

use candle_core::Tensor;

use crate::ops::{CachedSequence, TensorElements};
use crate::{ModelError, Result};

/// A batch of rows, each a prompt that was read and the tokens that were fed after it.
///
/// A row begins with nothing fed; the first token to feed is [`Decoder::first_token`].
pub trait Decoder: Send {
    /// The number of rows.
    fn rows(&self) -> usize;

    /// The token to feed first in a row: what starts the decoder, or the last token of the prompt.
    ///
    /// # Errors
    /// When there is no such row.
    fn first_token(&self, row: usize) -> Result<u32>;

    /// The number of tokens that were fed to a row, the first one included; 0 for a row that does not exist.
    fn fed(&self, row: usize) -> usize;

    /// Feeds every row its tokens, at least one, and gives the scores of what follows each of them.
    ///
    /// # Shapes
    /// - `tokens`: as many as there are rows
    /// - output: `[total_new_tokens, vocabulary]`, row by row
    ///
    /// # Errors
    /// When there is another number of slices than of rows, a slice is empty, an id is outside of the vocabulary, or
    /// a row grows beyond the context ([`ModelError::Sample`]).
    fn step(&mut self, tokens: &[&[u32]]) -> Result<Tensor>;

    /// Replaces the rows: the new row `i` goes on from what was row `rows[i]`. Rows may be dropped and repeated.
    ///
    /// # Errors
    /// When there is no such row.
    fn reorder(&mut self, rows: &[usize]) -> Result<()>;

    /// Forgets all but the first `length` tokens that were fed to a row.
    ///
    /// # Errors
    /// When there is no such row, or fewer tokens were fed to it.
    fn truncate(&mut self, row: usize, length: usize) -> Result<()>;
}

/// Keys and values of several rows, each as long as it needs to be.
#[derive(Debug, Clone)]
pub struct KeyValueCache {
    rows: Vec<CachedRow>,
    width: usize,
}

#[derive(Debug, Clone, Default)]
struct CachedRow {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KeyValueCache {
    /// Empty rows; a key has `width` numbers, and so has a value.
    pub fn new(rows: usize, width: usize) -> Self {
        Self { rows: vec![CachedRow::default(); rows], width: width.max(1) }
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
        self.rows.iter().map(CachedRow::sequence).collect()
    }

    /// What attention reads of these rows, which may repeat. A row that does not exist is left out.
    pub fn sequences_of(&self, rows: &[usize]) -> Vec<CachedSequence<'_>> {
        rows.iter().filter_map(|&row| self.rows.get(row)).map(CachedRow::sequence).collect()
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

impl CachedRow {
    fn sequence(&self) -> CachedSequence<'_> {
        CachedSequence { keys: &self.keys, values: &self.values }
    }
}
