//! Where the sequences of a packed batch begin and end.

use super::arguments::refuse;
use crate::Result;

/// Refuses offsets that do not ascend from 0 to `tokens`.
pub(crate) fn check_offsets(operation: &'static str, offsets: &[usize], tokens: usize) -> Result<()> {
    let ends_fit = offsets.first() == Some(&0) && offsets.last() == Some(&tokens);
    if ends_fit && offsets.is_sorted() {
        return Ok(());
    }
    let shown = &offsets[..offsets.len().min(8)];
    Err(refuse(
        operation,
        format!("offsets ascending from 0 to {tokens}"),
        format!("{} offsets starting {shown:?}, last {:?}", offsets.len(), offsets.last()),
    ))
}
