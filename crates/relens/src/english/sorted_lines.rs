//! A text file as a table: sorted lines of a key and what belongs to it, searched in the text that it was read as.

use std::path::Path;

use relens_models::regular_file::{self, FileKind};

use crate::dataset::text_lines::{broken_line, excerpt};
use crate::error::Result;

/// Lines sorted by their keys; a key ends at the first tab. Nothing is parsed before it is asked for, so that a large
/// file is open in a millisecond.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SortedLines {
    text: String,
    /// Where each line begins.
    starts: Vec<u32>,
}

impl SortedLines {
    /// Reads lines whose keys are sorted by their bytes, none twice.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) naming the first line whose key is not behind the one before it;
    /// [`Error::Io`](crate::error::Error::Io).
    pub fn open(path: &Path) -> Result<Self> {
        let text = regular_file::read_to_string(path, FileKind::Vocabulary)?;
        let mut starts = Vec::with_capacity(text.len() / 16);
        let (mut before, mut start) = ("", 0_u32);
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let key = split(line).0;
            if key <= before {
                let expected = format!("a word behind `{before}` by its bytes");
                return Err(broken_line(path, number + 1, &expected, &excerpt(key)));
            }
            starts.push(start);
            before = key;
            start = u32::try_from(line.len())
                .ok()
                .and_then(|length| start.checked_add(length))
                .ok_or_else(|| broken_line(path, number + 1, "a file of at most 4 GB", "a larger one"))?;
        }
        Ok(Self { text, starts })
    }

    /// What stands behind `key` and its tab; the empty text where the line has no tab.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.starts.binary_search_by(|&start| self.line(start).0.cmp(key)).ok()?;
        self.starts.get(found).map(|&start| self.line(start).1)
    }

    /// All keys and what belongs to them, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.starts.iter().map(|&start| self.line(start))
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    fn line(&self, start: u32) -> (&str, &str) {
        let rest = self.text.get(start as usize..).unwrap_or_default();
        split(rest.split_once('\n').map_or(rest, |(line, _)| line))
    }
}

/// The key of a line, and the rest behind its tab.
fn split(line: &str) -> (&str, &str) {
    let line = line.trim_end_matches(['\n', '\r']);
    line.split_once('\t').map_or((line, ""), |(key, rest)| (key, rest))
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
    fn what_belongs_to_a_key_is_found() {
        let lines = SortedLines::open(written("lad\tboy\tchild\r\npooch\tdog\nwee").path()).unwrap();
        assert_eq!((lines.len(), lines.is_empty()), (3, false));
        assert_eq!(
            [lines.get("lad"), lines.get("pooch"), lines.get("wee")],
            [Some("boy\tchild"), Some("dog"), Some("")]
        );
        for key in ["", "la", "lads", "zebra", "lad\tboy"] {
            assert_eq!(lines.get(key), None, "{key}");
        }
        assert_eq!(lines.iter().next(), Some(("lad", "boy\tchild")));
    }

    #[test]
    fn a_key_in_the_wrong_place_is_refused_by_its_line() {
        for text in ["b\tx\na\ty\n", "a\tx\na\ty\n", "a\n\n"] {
            let error = SortedLines::open(written(text).path()).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }
}
