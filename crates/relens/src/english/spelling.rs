//! Which word a misspelt one was meant to be.
//!
//! A word is corrected to the most frequent word of the captions' vocabulary that one typing mistake turns into it
//! (Damerau, 1964), unless it is a word already, or a name with a capital inside the sentence.

use super::words::{WordInText, words};
use super::{Vocabulary, WordList};

/// A word that was corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// As it was typed.
    pub from: String,
    /// As it is now.
    pub to: String,
}

/// The text with misspelt words corrected. Words that are `listed` are right, and so are those that `is_known`.
pub(crate) fn corrected(
    text: &str,
    vocabulary: &Vocabulary,
    listed: &WordList,
    is_known: impl Fn(&WordInText<'_>) -> bool,
) -> (String, Vec<Correction>) {
    let mut result = String::with_capacity(text.len());
    let mut corrections = Vec::new();
    let mut copied = 0;
    for word in words(text) {
        if listed.contains(&word.text) {
            continue;
        }
        let Some(correction) = vocabulary.correction(&word.text).filter(|_| !is_known(&word)) else {
            continue;
        };
        let typed = text.get(word.range.clone()).unwrap_or_default();
        // A capital inside a sentence is a name, and names are in no vocabulary.
        if word.range.start > 0 && typed.chars().next().is_some_and(char::is_uppercase) {
            continue;
        }
        result.push_str(text.get(copied..word.range.start).unwrap_or_default());
        result.push_str(correction);
        copied = word.range.end;
        corrections.push(Correction { from: typed.to_owned(), to: correction.to_owned() });
    }
    result.push_str(text.get(copied..).unwrap_or_default());
    (result, corrections)
}
