//! What a large language model answered about words: JSON Lines of `{"word", "plain", "short"}` for uncommon words,
//! `{"word", "alternatives", "plain"}` for what captions' words are also called, and `{"word", "forms"}` for what
//! people type for them in another language.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::{ENGLISH, MAX_MEANINGS, Meaning, MeaningKind, Word};
use crate::dataset::text_lines::{broken_line, excerpt, for_each_line};
use crate::english::Vocabulary;
use crate::error::Result;
use crate::knowledge::Source;
use crate::knowledge::json_lines::{invalid_line, parse_line};

/// One answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WordAnswer {
    word: String,
    language: Option<String>,
    plain: Option<String>,
    short: Option<String>,
    #[serde(default)]
    alternatives: Vec<String>,
    #[serde(default)]
    forms: Vec<String>,
    #[serde(default)]
    meanings: Vec<Meaning>,
}

/// A meaning of a word and how far it comes first: by the place of the word among the alternatives, then by how often
/// captions use the meaning.
type Ranked = (usize, std::cmp::Reverse<u64>, Meaning);

/// Collects the words of several files of answers, or of files that [`super::super::store::KnowledgeStore`] exports.
/// What comes first in `paths` comes first among a word's meanings.
///
/// # Errors
/// [`Error::Dataset`](crate::error::Error::Dataset) naming the line; [`Error::Io`](crate::error::Error::Io).
pub fn read(paths: &[&Path], language: &str, captions: &Vocabulary) -> Result<Vec<Word>> {
    let mut found: HashMap<(String, String), Vec<Ranked>> = HashMap::new();
    for (file, path) in paths.iter().enumerate() {
        for_each_line(path, |number, line| {
            let record: WordAnswer = parse_line(path, number, line)?;
            let language = record.language.clone().unwrap_or_else(|| language.to_owned());
            for (place, word, meaning) in record.meanings_of_words() {
                let word = phrase(&word);
                let meaning = Meaning { text: phrase(&meaning.text), ..meaning };
                if word.is_empty() || meaning.text.is_empty() || word == meaning.text && language == ENGLISH {
                    continue;
                }
                let commonest = std::cmp::Reverse(captions.count(&meaning.text));
                let known =
                    Word { word: word.clone(), language: language.clone(), meanings: vec![meaning.clone()] };
                known.validate().map_err(|invalid| invalid_line(path, number, &known.word, &invalid))?;
                found.entry((language.clone(), word)).or_default().push((
                    file * 100 + place,
                    commonest,
                    meaning,
                ));
            }
            Ok(())
        })?;
    }
    let mut words: Vec<Word> =
        found.into_iter().map(|((language, word), ranked)| assembled(word, &language, ranked)).collect();
    words.sort_by(|left, right| left.key().cmp(&right.key()));
    Ok(words)
}

/// What people type in another language for words of captions, the commonest first, in the file's order.
///
/// # Errors
/// [`Error::Dataset`](crate::error::Error::Dataset) naming a line that is not of this shape or has no form;
/// [`Error::Io`](crate::error::Error::Io).
pub fn read_forms(path: &Path) -> Result<Vec<(String, Vec<String>)>> {
    let mut rows = Vec::new();
    for_each_line(path, |number, line| {
        let record: WordAnswer = parse_line(path, number, line)?;
        let spaced = |text: &str| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        let mut forms: Vec<String> = Vec::new();
        for form in record.forms.iter().map(|form| spaced(form)).filter(|form| !form.is_empty()) {
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        let word = spaced(&record.word);
        if word.is_empty() || forms.is_empty() {
            return Err(broken_line(
                path,
                number,
                "a `word` with at least one of its `forms`",
                &excerpt(line),
            ));
        }
        rows.push((word, forms));
        Ok(())
    })?;
    Ok(rows)
}

impl WordAnswer {
    /// What the answer says of which word: a place among several, the word, and its meaning.
    fn meanings_of_words(self) -> Vec<(usize, String, Meaning)> {
        let meaning = |text: &str, kind| Meaning { text: text.to_owned(), kind, source: Source::Llm };
        let mut found = Vec::new();
        for (place, alternative) in self.alternatives.iter().chain(&self.forms).enumerate() {
            found.push((usize::from(place > 1), alternative.clone(), meaning(&self.word, MeaningKind::Name)));
            let plain = self.plain.as_ref().filter(|plain| **plain != self.word);
            found.extend(plain.map(|plain| (2, alternative.clone(), meaning(plain, MeaningKind::Name))));
        }
        found.extend(
            self.short.iter().map(|short| (3, self.word.clone(), meaning(short, MeaningKind::Short))),
        );
        if self.forms.is_empty() {
            found.extend(
                self.plain.iter().map(|plain| (4, self.word.clone(), meaning(plain, MeaningKind::Plain))),
            );
        }
        found.extend(self.meanings.into_iter().map(|meaning| (0, self.word.clone(), meaning)));
        found
    }
}

fn assembled(word: String, language: &str, mut ranked: Vec<Ranked>) -> Word {
    ranked.sort_by_key(|left| (left.0, left.1));
    let meanings = ranked.into_iter().map(|(_, _, meaning)| meaning).collect();
    let mut word = Word { word, language: language.to_owned(), meanings }.normalised();
    word.meanings.truncate(MAX_MEANINGS);
    word
}

/// A phrase as texts are compared: lower case, words parted by single spaces, no hyphens.
fn phrase(text: &str) -> String {
    let text = text.to_lowercase();
    crate::english::words::words(&text)
        .iter()
        .map(|word| text.get(word.range.clone()).unwrap_or_default())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_all_shapes_become_words_with_meanings() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = [
            r#"{"word": "boy", "alternatives": ["lad", "young-ster", "x", "boy"], "plain": "boy"}"#,
            r#"{"word": "son", "alternatives": ["lad"], "plain": "boy"}"#,
            r#"{"word": "snarling", "plain": "mouth open with teeth", "short": "showing teeth"}"#,
            r#"{"word": "tot", "meanings": [{"text": "toddler", "kind": "name", "source": "person"}]}"#,
        ];
        fs_err::write(file.path(), lines.join("\n")).unwrap();
        let captions = Vocabulary::of_captions(["boy boy son"]);
        let words = read(&[file.path()], ENGLISH, &captions).unwrap();
        let told: Vec<String> = words
            .iter()
            .map(|word| {
                let meanings: Vec<&str> = word.meanings.iter().map(|meaning| meaning.text.as_str()).collect();
                format!("{}: {}", word.word, meanings.join(", "))
            })
            .collect();
        assert_eq!(
            told,
            [
                "lad: boy, son",
                "snarling: showing teeth, mouth open with teeth",
                "son: boy",
                "tot: toddler",
                "x: boy",
                "young ster: boy"
            ]
        );
    }

    #[test]
    fn forms_of_another_language_are_words_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), r#"{"word": "dog", "forms": ["Hund", "Hündin"]}"#).unwrap();
        let words = read(&[file.path()], "de", &Vocabulary::default()).unwrap();
        let keys: Vec<_> = words.iter().map(Word::key).collect();
        assert_eq!(keys, ["de:hund", "de:hündin"]);
    }

    #[test]
    fn forms_are_read_as_they_are_typed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), r#"{"word": "dog", "forms": ["Hund", "hund", " der  Hund"]}"#).unwrap();
        assert_eq!(
            read_forms(file.path()).unwrap(),
            [("dog".to_owned(), vec!["hund".to_owned(), "der hund".to_owned()])]
        );
        fs_err::write(file.path(), r#"{"word": "dog", "forms": []}"#).unwrap();
        assert!(read_forms(file.path()).unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn a_line_that_cannot_be_taken_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for wrong in [r#"{"word": 1}"#, r#"{"word": "a", "gloss": "b"}"#, "{"] {
            fs_err::write(file.path(), format!("{{\"word\": \"a\", \"short\": \"b\"}}\n{wrong}\n")).unwrap();
            let error = read(&[file.path()], ENGLISH, &Vocabulary::default()).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }
}
