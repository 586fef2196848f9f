//! Incremental decoding: a few tokens of every row at a time.

use candle_core::Tensor;

use crate::Result;

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
    /// a row grows beyond the context ([`ModelError::Sample`](crate::ModelError::Sample)).
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
