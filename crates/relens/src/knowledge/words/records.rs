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
    /// All that the word means; none leaves it alone.
    meanings: Option<Vec<Meaning>>,
}

/// A meaning of a word and how far it comes first: by the place of the word among the alternatives, then by how often
/// captions use the meaning.
type Ranked = (usize, std::cmp::Reverse<u64>, Meaning);

/// Collects the words of several files of answers, or of files that [`super::super::store::KnowledgeStore`] exports.
/// What comes first in `paths` comes first among a word's meanings; a word whose `meanings` a file states has no others
/// from the files behind it, and with none at all it is left alone.
///
/// # Errors
/// [`Error::Dataset`](crate::error::Error::Dataset) naming the line; [`Error::Io`](crate::error::Error::Io).
pub fn read(paths: &[&Path], language: &str, captions: &Vocabulary) -> Result<Vec<Word>> {
    let mut found: HashMap<(String, String), Vec<Ranked>> = HashMap::new();
    let mut stated: HashMap<(String, String), usize> = HashMap::new();
    for (file, path) in paths.iter().enumerate() {
        for_each_line(path, |number, line| {
            let record: WordAnswer = parse_line(path, number, line)?;
            let language = record.language.clone().unwrap_or_else(|| language.to_owned());
            if record.meanings.is_some() {
                let key = (language.clone(), phrase(&record.word));
                found.entry(key.clone()).or_default();
                stated.entry(key).or_insert(file);
            }
            for (place, word, meaning) in record.meanings_of_words() {
                let word = phrase(&word);
                let stated_by = stated.get(&(language.clone(), word.clone()));
                if stated_by.is_some_and(|&stated_by| stated_by < file) {
                    continue;
                }
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

/// What people type in another language for words of captions, the commonest first, in the order of the files; lines
/// that state another `language` are left out.
///
/// # Errors
/// [`Error::Dataset`](crate::error::Error::Dataset) naming a line that is not of this shape or has no form;
/// [`Error::Io`](crate::error::Error::Io).
pub fn read_forms(paths: &[&Path], language: &str) -> Result<Vec<(String, Vec<String>)>> {
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let spaced = |text: &str| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    for path in paths {
        for_each_line(path, |number, line| {
            let record: WordAnswer = parse_line(path, number, line)?;
            let word = spaced(&record.word);
            let typed: Vec<String> =
                record.forms.iter().map(|form| spaced(form)).filter(|form| !form.is_empty()).collect();
            if word.is_empty() || typed.is_empty() {
                let expected = "a `word` with at least one of its `forms`";
                return Err(broken_line(path, number, expected, &excerpt(line)));
            }
            if record.language.is_some_and(|stated| stated != language) {
                return Ok(());
            }
            let place = *places.entry(word.clone()).or_insert(rows.len());
            if place == rows.len() {
                rows.push((word, Vec::new()));
            }
            let Some((_, forms)) = rows.get_mut(place) else { return Ok(()) };
            for form in typed {
                if !forms.contains(&form) {
                    forms.push(form);
                }
            }
            Ok(())
        })?;
    }
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
        // In the order in which they are stated.
        let stated = self.meanings.into_iter().flatten().enumerate();
        found.extend(stated.map(|(place, meaning)| (place, self.word.clone(), meaning)));
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
        let behind = tempfile::NamedTempFile::new().unwrap();
        let lines =
            [r#"{"word": "sum", "alternatives": ["tot", "love"]}"#, r#"{"word": "love", "meanings": []}"#];
        fs_err::write(behind.path(), lines.join("\n")).unwrap();
        let captions = Vocabulary::of_captions(["boy boy son"]);
        let words = read(&[file.path(), behind.path()], ENGLISH, &captions).unwrap();
        let written: Vec<String> = words
            .iter()
            .map(|word| {
                let meanings: Vec<&str> = word.meanings.iter().map(|meaning| meaning.text.as_str()).collect();
                format!("{}: {}", word.word, meanings.join(", "))
            })
            .collect();
        assert_eq!(
            written,
            [
                "lad: boy, son",
                "love: sum",
                "snarling: showing teeth, mouth open with teeth",
                "son: boy",
                "tot: toddler",
                "x: boy",
                "young ster: boy"
            ]
        );
    }

    #[test]
    fn a_word_without_meanings_is_left_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = [r#"{"word": "love", "meanings": []}"#, r#"{"word": "hug", "alternatives": ["x"]}"#];
        fs_err::write(file.path(), lines.join("\n")).unwrap();
        let behind = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(behind.path(), r#"{"word": "hug", "alternatives": ["love"]}"#).unwrap();
        let words = read(&[file.path(), behind.path()], ENGLISH, &Vocabulary::default()).unwrap();
        let written: Vec<(&str, usize)> =
            words.iter().map(|word| (word.word.as_str(), word.meanings.len())).collect();
        assert_eq!(written, [("love", 0), ("x", 1)]);
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
        let more = tempfile::NamedTempFile::new().unwrap();
        let lines = [
            r#"{"word": "dog", "forms": ["Köter"], "language": "de"}"#,
            r#"{"word": "dog", "forms": ["chien"], "language": "fr"}"#,
        ];
        fs_err::write(more.path(), lines.join("\n")).unwrap();
        let forms = ["hund", "der hund", "köter"].map(str::to_owned).to_vec();
        let read = read_forms(&[file.path(), more.path()], "de").unwrap();
        assert_eq!(read, [("dog".to_owned(), forms)]);
        fs_err::write(file.path(), r#"{"word": "dog", "forms": []}"#).unwrap();
        assert!(read_forms(&[file.path()], "de").unwrap_err().to_string().contains("line 1"));
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
