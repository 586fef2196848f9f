//! A word that people type, and what it means in words that a retriever knows.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::knowledge::Source;
use crate::knowledge::entity::{Invalid, MAX_NAME_CHARACTERS, normalise_name, validate_name, validate_text};

/// The most meanings that one word may have.
pub const MAX_MEANINGS: usize = 20;
/// The language of words that name none.
pub const ENGLISH: &str = "en";

/// How a meaning says what a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MeaningKind {
    /// A common name for the same: "dog" for "pooch".
    Name,
    /// What it looks like, in a word or two: "showing teeth" for "snarling".
    Short,
    /// What it looks like, at more length.
    Plain,
}

impl MeaningKind {
    /// The character that stands before a meaning of this kind in a file of words.
    pub(super) fn mark(self) -> char {
        match self {
            Self::Name => '=',
            Self::Short => '~',
            Self::Plain => '+',
        }
    }

    pub(super) fn of_mark(mark: char) -> Option<Self> {
        [Self::Name, Self::Short, Self::Plain].into_iter().find(|kind| kind.mark() == mark)
    }
}

/// One meaning of a word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meaning {
    /// Fit to stand in the word's place.
    pub text: String,
    /// How it says it.
    pub kind: MeaningKind,
    /// Who wrote it.
    pub source: Source,
}

/// A word, or several that belong together, with its meanings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// In lower case.
    pub word: String,
    /// The language, as ISO 639-1 abbreviates it.
    #[serde(default = "english", skip_serializing_if = "is_english")]
    pub language: String,
    /// What it means, the usual first; none if it is to be left alone.
    pub meanings: Vec<Meaning>,
}

fn english() -> String {
    ENGLISH.to_owned()
}

fn is_english(language: &String) -> bool {
    language == ENGLISH
}

impl Word {
    /// Lower case and single spaces; what is there twice is dropped.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.word = normalise_name(&self.word);
        self.language = self.language.trim().to_lowercase();
        let mut seen = std::collections::HashSet::new();
        for meaning in &mut self.meanings {
            meaning.text = normalise_name(meaning.text.trim().trim_end_matches(['.', ';', ',']));
        }
        self.meanings.retain(|meaning| seen.insert(meaning.text.clone()));
        self
    }

    /// The key under which files and the database keep it: the word, with its language before it unless that is English.
    pub fn key(&self) -> Cow<'_, str> {
        key(&self.word, &self.language)
    }

    /// Checks all that can be said of one word by itself.
    ///
    /// # Errors
    /// The first field that cannot be taken.
    pub fn validate(&self) -> Result<(), Invalid> {
        validate_name("word", &self.word)?;
        let two_letters =
            self.language.len() == 2 && self.language.bytes().all(|byte| byte.is_ascii_lowercase());
        if !two_letters {
            return Err(Invalid::new(
                "language",
                "two letters, such as `de`",
                format!("`{}`", self.language),
            ));
        }
        if self.meanings.len() > MAX_MEANINGS {
            let found = self.meanings.len().to_string();
            return Err(Invalid::new("meanings", format!("at most {MAX_MEANINGS}"), found));
        }
        for (position, meaning) in self.meanings.iter().enumerate() {
            let field = format!("meanings[{position}].text");
            validate_text(&field, &meaning.text, MAX_NAME_CHARACTERS)?;
            if meaning.text.contains(['<', '>', '\t']) {
                return Err(Invalid::new(field, "plain words without markup", format!("`{}`", meaning.text)));
            }
            if self.language == ENGLISH && meaning.text == self.word {
                return Err(Invalid::new(
                    field,
                    "other words than the word itself",
                    format!("`{}`", self.word),
                ));
            }
        }
        Ok(())
    }
}

/// The key of a word of a language.
pub(crate) fn key<'a>(word: &'a str, language: &str) -> Cow<'a, str> {
    if language == ENGLISH { Cow::Borrowed(word) } else { Cow::Owned(format!("{language}:{word}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, meaning: &str) -> Word {
        let meaning = Meaning { text: meaning.to_owned(), kind: MeaningKind::Name, source: Source::Person };
        Word { word: text.to_owned(), language: english(), meanings: vec![meaning] }
    }

    #[test]
    fn every_fault_names_its_field() {
        assert_eq!(word("pooch", "dog").validate(), Ok(()));
        for (field, wrong) in [
            ("word", word(" ", "dog")),
            ("word", word("Pooch", "dog")),
            ("meanings[0].text", word("pooch", "pooch")),
            ("meanings[0].text", word("pooch", "<b>dog</b>")),
            ("meanings[0].text", word("pooch", "a\u{7}dog")),
            ("meanings[0].text", word("pooch", &"x".repeat(1 << 20))),
            ("language", Word { language: "german".into(), ..word("hund", "dog") }),
        ] {
            assert_eq!(wrong.validate().unwrap_err().field, field);
        }
    }

    #[test]
    fn a_word_is_kept_under_its_language() {
        let hund = Word { language: "DE".into(), ..word("Hund", "Dog.") }.normalised();
        assert_eq!(hund.validate(), Ok(()));
        assert_eq!((&*hund.key(), hund.meanings[0].text.as_str()), ("de:hund", "dog"));
        assert_eq!(word("pooch", "dog").key(), "pooch");
    }
}
