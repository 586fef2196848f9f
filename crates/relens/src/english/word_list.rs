//! Words that are spelled right, whether captions use them or not.

use std::path::Path;

use super::sorted_lines::SortedLines;
use crate::error::Result;

/// The list inside the bundled knowledge base's directory.
pub const BUNDLED_FILE: &str = "words.txt";

/// A sorted list of words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WordList(SortedLines);

impl WordList {
    /// Reads words in lower case, one a line, sorted by their bytes.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) naming the first line that is not behind the one before it;
    /// [`Error::Io`](crate::error::Error::Io).
    pub fn open(path: &Path) -> Result<Self> {
        SortedLines::open(path).map(Self)
    }

    /// Whether `word`, in lower case, is on the list.
    pub fn contains(&self, word: &str) -> bool {
        self.0.get(word).is_some()
    }

    /// The number of words.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_the_list_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "buoy\r\nconch\nwench").unwrap();
        let list = WordList::open(file.path()).unwrap();
        assert_eq!((list.len(), list.is_empty()), (3, false));
        for word in ["buoy", "conch", "wench"] {
            assert!(list.contains(word), "{word}");
        }
        for word in ["", "a", "buo", "buoys", "conchs", "zebra"] {
            assert!(!list.contains(word), "{word}");
        }
    }
}
