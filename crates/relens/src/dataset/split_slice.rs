//! A split or a part of one: `train`, `train[:5000]`, `train[-1000:]`, as in Hugging Face's and TensorFlow's datasets.

use std::ops::Range;

use super::split::Split;
use crate::error::{Error, Result};

/// What one name among those joined by `+` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SplitSlice {
    pub(super) split: Split,
    /// The first picture and the one behind the last; negative numbers count from the end.
    bounds: Option<(Option<i64>, Option<i64>)>,
}

impl SplitSlice {
    /// Reads `name` or `name[first:last]`.
    ///
    /// # Errors
    /// [`Error::Argument`] for brackets that hold something else.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let Some((name, slice)) = text.split_once('[') else {
            return Ok(Self { split: Split::from_name(text), bounds: None });
        };
        let refused = || Error::Argument {
            operation: "Dataset::split",
            expected: "a split's name, or a part of it such as `train[:5000]` or `train[-1000:]`".to_owned(),
            found: format!("`{text}`"),
        };
        let bound = |text: &str| match text.trim() {
            "" => Ok(None),
            number => number.parse().map(Some).map_err(|_| refused()),
        };
        let (first, last) =
            slice.strip_suffix(']').and_then(|slice| slice.split_once(':')).ok_or_else(refused)?;
        Ok(Self { split: Split::from_name(name.trim()), bounds: Some((bound(first)?, bound(last)?)) })
    }

    /// Which of `count` pictures are meant; beyond the end there are none.
    pub(super) fn range(&self, count: usize) -> Range<usize> {
        let (first, last) = self.bounds.unwrap_or_default();
        let place = |bound: i64| {
            let magnitude = usize::try_from(bound.unsigned_abs()).unwrap_or(usize::MAX);
            if bound < 0 { count.saturating_sub(magnitude) } else { magnitude.min(count) }
        };
        let first = first.map_or(0, place);
        first..last.map_or(count, place).max(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_a_slice() {
        for (text, expected) in [
            ("train", 0..10),
            ("train[:4]", 0..4),
            ("train[4:]", 4..10),
            ("train[-3:]", 7..10),
            ("train[:-3]", 0..7),
            ("train[ 2 : 5 ]", 2..5),
            ("train[8:3]", 8..8),
            ("train[5:99]", 5..10),
            ("train[-99:2]", 0..2),
            ("train[:-9223372036854775808]", 0..0),
        ] {
            let slice = SplitSlice::parse(text).unwrap();
            assert_eq!((slice.split.clone(), slice.range(10)), (Split::Train, expected), "{text}");
        }
    }

    #[test]
    fn other_brackets_are_refused() {
        for text in ["train[", "train[1]", "train[a:b]", "train[1:2", "train[:99999999999999999999]"] {
            let error = SplitSlice::parse(text).unwrap_err().to_string();
            assert!(error.contains("`train[:5000]`") && error.contains(text), "{error}");
        }
    }
}
