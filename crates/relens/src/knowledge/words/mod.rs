//! What do words mean that a retriever has hardly seen? "pooch" is a dog, "snarling" shows teeth.
//!
//! The bundled words lie in a file of sorted lines that nothing parses before it is asked: a word, a tab, its meanings
//! parted by tabs, each behind a mark of its kind (`=` a name, `~` short, `+` plain); a word without meanings is left alone.
//! What a person changed lies in the
//! knowledge base of the home directory and goes before it.

mod fluent;
mod forms;
pub mod languages;
pub mod lexicon;
mod reading;
pub mod records;
mod word;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

pub use forms::Form;
pub use languages::{ForeignLanguage, Languages};
pub use lexicon::Lexicon;
pub use reading::WordByWord;
pub(crate) use word::key;
pub use word::{ENGLISH, MAX_MEANINGS, Meaning, MeaningKind, Word};

use super::Source;
use crate::english::SortedLines;
use crate::error::Result;

/// The words inside the bundled knowledge base's directory.
pub const BUNDLED_FILE: &str = "words.tsv";
/// The most words of a phrase that has a meaning of its own.
pub const LONGEST_PHRASE: usize = 4;

/// Words by what they mean.
#[derive(Debug, Default)]
pub struct Words {
    bundled: SortedLines,
    edited: BTreeMap<String, Word>,
}

impl Words {
    /// Opens a file of words.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) if it is not sorted; [`Error::Io`](crate::error::Error::Io).
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { bundled: SortedLines::open(path)?, edited: BTreeMap::new() })
    }

    /// Puts words before those that are there: each replaces the one of its name.
    #[must_use]
    pub fn with(mut self, edited: impl IntoIterator<Item = Word>) -> Self {
        self.edited.extend(edited.into_iter().map(|word| (word.key().into_owned(), word)));
        self
    }

    /// The word of this name in a language, both in lower case.
    pub fn get(&self, word: &str, language: &str) -> Option<Word> {
        let key = key(word, language);
        if let Some(edited) = self.edited.get(&*key) {
            return Some(edited.clone());
        }
        self.bundled.get(&key).map(|line| parsed(&key, line))
    }

    /// Whether the word is there and has a meaning.
    pub fn contains(&self, word: &str, language: &str) -> bool {
        let key = key(word, language);
        self.edited.get(&*key).map_or_else(
            || self.bundled.get(&key).is_some_and(|line| !line.is_empty()),
            |word| !word.meanings.is_empty(),
        )
    }

    /// The words of other languages that were put before those that are there.
    pub fn taught_of_other_languages(&self) -> Vec<Word> {
        self.edited.values().filter(|word| word.language != ENGLISH).cloned().collect()
    }

    /// All words, sorted by their keys.
    pub fn iter(&self) -> impl Iterator<Item = Word> {
        let bundled = self.bundled.iter().filter(|(key, _)| !self.edited.contains_key(*key));
        let mut all: Vec<Word> =
            bundled.map(|(key, line)| parsed(key, line)).chain(self.edited.values().cloned()).collect();
        all.sort_by(|left, right| left.key().cmp(&right.key()));
        all.into_iter()
    }

    /// The number of bundled words.
    pub fn len(&self) -> usize {
        self.bundled.len() + self.edited.keys().filter(|key| self.bundled.get(key).is_none()).count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bundled.is_empty() && self.edited.is_empty()
    }
}

/// Writes words, sorted by their keys, as [`Words::open`] reads them.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) when `writer` fails.
pub fn write<'a>(words: impl IntoIterator<Item = &'a Word>, writer: &mut impl Write) -> Result<()> {
    let by_key: BTreeMap<String, &Word> =
        words.into_iter().map(|word| (word.key().into_owned(), word)).collect();
    for (key, word) in by_key {
        write!(writer, "{key}")?;
        for meaning in &word.meanings {
            write!(writer, "\t{}{}", meaning.kind.mark(), meaning.text)?;
        }
        writeln!(writer)?;
    }
    Ok(())
}

/// A line of a file of words; a part without a mark is left out.
fn parsed(key: &str, line: &str) -> Word {
    let (language, word) = match key.split_once(':') {
        Some((language, word)) if language.len() == 2 => (language, word),
        _ => (ENGLISH, key),
    };
    let meaning = |part: &str| {
        let mut characters = part.chars();
        let kind = MeaningKind::of_mark(characters.next()?)?;
        let text = characters.as_str();
        (!text.is_empty()).then(|| Meaning { text: text.to_owned(), kind, source: Source::Llm })
    };
    let meanings = line.split('\t').filter_map(meaning).collect();
    Word { word: word.to_owned(), language: language.to_owned(), meanings }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn words(lines: &[(&str, &[(MeaningKind, &str)])]) -> Words {
        let word = |(word, meanings): &(&str, &[(MeaningKind, &str)])| Word {
            word: (*word).to_owned(),
            language: ENGLISH.to_owned(),
            meanings: meanings
                .iter()
                .map(|(kind, text)| Meaning { text: (*text).to_owned(), kind: *kind, source: Source::Llm })
                .collect(),
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        write(&lines.iter().map(word).collect::<Vec<_>>(), &mut file.as_file()).unwrap();
        Words::open(file.path()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_edits_go_first() {
        let bundled = words(&[
            (
                "snarling",
                &[(MeaningKind::Short, "showing teeth"), (MeaningKind::Plain, "mouth open, teeth bared")],
            ),
            ("pooch", &[(MeaningKind::Name, "dog")]),
        ]);
        let names: Vec<String> = bundled.iter().map(|word| word.word).collect();
        assert_eq!(names, ["pooch", "snarling"]);
        let snarling = bundled.get("snarling", ENGLISH).unwrap();
        assert_eq!(snarling.meanings[1].text, "mouth open, teeth bared");
        assert!(bundled.contains("pooch", ENGLISH) && !bundled.contains("pooch", "de"));
        let left_alone = Word { word: "pooch".into(), language: ENGLISH.into(), meanings: Vec::new() };
        let edited = bundled.with([left_alone]);
        assert!(!edited.contains("pooch", ENGLISH));
        assert_eq!(edited.len(), 2);
    }
}
