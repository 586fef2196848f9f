//! Words that are spelled right, whether captions use them or not.

use std::path::Path;

use crate::dataset::text_lines::{broken_line, excerpt};
use crate::error::Result;

/// The list inside the bundled knowledge base's directory.
pub const BUNDLED_FILE: &str = "words.txt";

/// A sorted list, searched in the text that it was read as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WordList {
    text: String,
    /// Where each word begins.
    starts: Vec<usize>,
}

impl WordList {
    /// Reads words in lower case, one a line, sorted by their bytes.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) naming the first line that is not behind the one before it;
    /// [`Error::Io`](crate::error::Error::Io).
    pub fn open(path: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(path)?;
        let mut starts = Vec::new();
        let (mut before, mut start) = ("", 0);
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let word = line.trim_end();
            if word <= before {
                let expected = format!("a word behind `{before}` by its bytes");
                return Err(broken_line(path, number + 1, &expected, &excerpt(word)));
            }
            starts.push(start);
            (before, start) = (word, start + line.len());
        }
        Ok(Self { text, starts })
    }

    /// Whether `word`, in lower case, is on the list.
    pub fn contains(&self, word: &str) -> bool {
        let at = |start: usize| {
            self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("").trim_end()
        };
        self.starts.binary_search_by(|&start| at(start).cmp(word)).is_ok()
    }

    /// The number of words.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn what_is_on_the_list_is_found() {
        let list = WordList::open(written("buoy\r\nconch\nwench").path()).unwrap();
        assert_eq!((list.len(), list.is_empty()), (3, false));
        for word in ["buoy", "conch", "wench"] {
            assert!(list.contains(word), "{word}");
        }
        for word in ["", "a", "buo", "buoys", "conchs", "zebra"] {
            assert!(!list.contains(word), "{word}");
        }
        assert!(WordList::open(written("").path()).unwrap().is_empty());
    }

    #[test]
    fn an_unsorted_list_is_refused_by_its_line() {
        for text in ["b\na\n", "a\na\n", "a\n\n"] {
            let error = WordList::open(written(text).path()).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }
}
