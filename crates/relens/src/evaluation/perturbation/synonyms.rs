//! Words that mean about the same, from what is at hand.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::dataset::Dataset;
use crate::dataset::text_lines::{broken_line, for_each_line};
use crate::english::words::words;
use crate::error::Result;
use crate::knowledge::Knowledge;
use crate::knowledge::wordnet::WordNet;
use crate::knowledge::words::{ENGLISH, MeaningKind};

/// Words that mean about the same, by word in lower case.
#[derive(Debug, Clone, Default)]
pub struct Synonyms(HashMap<String, Vec<String>>);

/// A line of a file of synonyms; other fields are not read.
#[derive(Debug, Deserialize)]
struct Line {
    word: String,
    alternatives: Vec<String>,
}

impl Synonyms {
    /// What a knowledge base knows: the other names of its entities, and the words that have a word as a name ("pooch" for
    /// "dog").
    ///
    /// An enhancer that uses the same knowledge has the answers to these questions: it is flattered by them.
    pub fn of_knowledge(knowledge: &Knowledge) -> Self {
        let mut synonyms = Self::default();
        for entity in knowledge.entities() {
            let names: Vec<&String> = std::iter::once(&entity.name).chain(&entity.aliases).collect();
            for name in &names {
                synonyms.add(name, names.iter().filter(|other| *other != name).map(|other| (*other).clone()));
            }
        }
        for word in knowledge.words().iter().filter(|word| word.language == ENGLISH) {
            for meaning in word.meanings.iter().filter(|meaning| meaning.kind == MeaningKind::Name) {
                synonyms.add(&meaning.text, [word.word.clone()]);
            }
        }
        synonyms
    }

    /// Reads JSON Lines of `{"word", "alternatives": [TEXT, …]}`.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) with the line that is none; [`Error::Io`](crate::error::Error::Io).
    pub fn open(path: &Path) -> Result<Self> {
        let mut synonyms = Self::default();
        for_each_line(path, |number, line| {
            let line: Line = serde_json::from_str(line).map_err(|error| {
                broken_line(path, number, "an object with `word` and `alternatives`", &error.to_string())
            })?;
            synonyms.add(&line.word, line.alternatives);
            Ok(())
        })?;
        Ok(synonyms)
    }

    /// What WordNet says of the words of a dataset's captions that are nouns: the other nouns of the usual meaning.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) if WordNet's files are damaged.
    pub fn of_wordnet(wordnet: &WordNet, dataset: &Dataset) -> Result<Self> {
        let mut synonyms = Self::default();
        for (_, caption) in dataset.captions() {
            for word in words(caption) {
                if synonyms.0.contains_key(&*word.text) {
                    continue;
                }
                let found = wordnet.define(&word.text)?.map(|definition| definition.synonyms);
                // A plural is left alone: WordNet's synonyms of it are singular.
                let found = found.filter(|_| !word.text.ends_with('s')).unwrap_or_default();
                synonyms.0.insert(word.text.into_owned(), found);
            }
        }
        Ok(synonyms)
    }

    /// The synonyms of a word, whatever its case.
    pub fn of(&self, word: &str) -> &[String] {
        self.0.get(&word.to_lowercase()).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, word: &str, others: impl IntoIterator<Item = String>) {
        let word = word.to_lowercase();
        let others =
            others.into_iter().filter(|other| other.to_lowercase() != word && !other.trim().is_empty());
        let others: Vec<String> = others.collect();
        if !others.is_empty() {
            self.0.entry(word).or_default().extend(others);
        }
    }
}

impl<W: Into<String>, S: Into<String>> FromIterator<(W, Vec<S>)> for Synonyms {
    fn from_iter<I: IntoIterator<Item = (W, Vec<S>)>>(words: I) -> Self {
        let mut found = Self::default();
        for (word, synonyms) in words {
            found.add(&word.into(), synonyms.into_iter().map(Into::into));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::{Entity, Source};

    #[test]
    fn names_of_one_thing_are_synonyms_of_each_other() {
        let mut sofa = Entity::described("sofa", ["long padded seat"], Source::Person);
        sofa.aliases = vec!["couch".to_owned()];
        let knowledge = Knowledge::new(vec![sofa], "an example").unwrap();
        let synonyms = Synonyms::of_knowledge(&knowledge);
        assert_eq!(
            (synonyms.of("Sofa"), synonyms.of("couch")),
            (&["couch".to_owned()][..], &["sofa".to_owned()][..])
        );
        assert!(synonyms.of("chair").is_empty());
    }

    #[test]
    fn a_file_of_synonyms_is_read_and_a_broken_line_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = "{\"word\": \"dog\", \"alternatives\": [\"pooch\", \"Dog\", \" \"], \"plain\": \"dog\"}\n";
        fs_err::write(file.path(), line).unwrap();
        assert_eq!(Synonyms::open(file.path()).unwrap().of("dog"), ["pooch"]);
        fs_err::write(file.path(), format!("{line}{{\"word\": \"cat\"}}\n")).unwrap();
        let error = Synonyms::open(file.path()).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("alternatives"), "{error}");
    }
}
