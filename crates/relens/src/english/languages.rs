//! Whether a query is English, by its script and by words of other languages.
//!
//! Queries are too short for the statistics of letters: "Hund" is one word. A list says which words of other languages
//! people type for what captions name; a query is in the language of most of its words, unless as many are words of
//! captions.

use std::collections::BTreeMap;
use std::path::Path;

use whatlang::{Lang, Script};

use super::Vocabulary;
use super::sorted_lines::SortedLines;
use super::words::words;
use crate::error::Result;

/// The list inside the bundled knowledge base's directory.
pub const BUNDLED_FILE: &str = "other-languages.tsv";

/// Words of other languages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Languages(SortedLines);

impl Languages {
    /// Reads lines of a word, a tab, and the codes (ISO 639-3) of the languages that have it, separated by commas,
    /// sorted by the words' bytes.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) naming the first line that is not behind the one before it;
    /// [`Error::Io`](crate::error::Error::Io).
    pub fn open(path: &Path) -> Result<Self> {
        SortedLines::open(path).map(Self)
    }

    /// The English name of the language that `text` is in, if it is not in English, whose captions use the words of
    /// `vocabulary`.
    pub fn of(&self, text: &str, vocabulary: &Vocabulary) -> Option<&'static str> {
        match whatlang::detect_script(text) {
            None => return None,
            Some(Script::Latin) => {}
            Some(_) => return whatlang::detect(text).map(|info| info.lang().eng_name()),
        }
        let (mut english, mut others) = (0_usize, BTreeMap::<&str, usize>::new());
        for word in words(text) {
            if vocabulary.count(&word.text) > 0 {
                english += 1;
            } else if let Some(codes) = self.0.get(&word.text) {
                codes.split(',').for_each(|code| *others.entry(code).or_default() += 1);
            }
        }
        // Of languages with as many words the first: Dutch and German share some.
        let (code, count) = others.into_iter().rev().max_by_key(|(_, count)| *count)?;
        if count <= english {
            return None;
        }
        Lang::from_code(code).map(|language| language.eng_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn languages() -> (Languages, Vocabulary) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines =
            "am\tdeu\nchien\tfra\nder\tdeu\ngril\tfra\nhund\tdeu\nplage\tfra\nstrand\tdeu,nld\nsur\tfra\n";
        fs_err::write(file.path(), lines).unwrap();
        let vocabulary = Vocabulary::of_captions(["a girl is climbing a bench in a hat"]);
        (Languages::open(file.path()).unwrap(), vocabulary)
    }

    #[test]
    fn a_query_is_in_the_language_of_most_of_its_words() {
        let (languages, vocabulary) = languages();
        for (text, expected) in [
            ("Hund", Some("German")),
            ("der Hund am Strand", Some("German")),
            ("chien sur la plage", Some("French")),
            ("σκύλος στην παραλία", Some("Greek")),
            ("ビーチ", Some("Japanese")),
            ("a gril climbing a bench", None),
            ("a hat", None),
            ("strand hat", None),
            ("xyzzy", None),
            ("12 34", None),
        ] {
            assert_eq!(languages.of(text, &vocabulary), expected, "{text}");
        }
    }
}
