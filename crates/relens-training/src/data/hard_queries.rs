//! Captions made hard by a lexicon: queries in words that the retriever may not know, for which the caption is the
//! answer. There are as many of them as one likes, and how hard they are is known.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use relens::dataset::rewrites::CAPTION;

use super::candidates::{CandidateQuery, CandidateRewrite};
use super::corpus::RewritingCorpus;
use crate::random::stream;
use crate::{Result, TrainingError};

/// How captions are made hard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardQueryConfig {
    /// What words are also called: JSON Lines, `{"word", "alternatives"}`.
    pub lexicon: PathBuf,
    /// Hard queries made of each caption. Default 1.
    #[serde(default = "one")]
    pub per_caption: usize,
    /// Words of a caption that are replaced at most; how many, from 1 on, is drawn. Default 4, at least 1.
    #[serde(default = "four")]
    pub most_words: usize,
    /// Decides which words are replaced, and by what. Default 0.
    #[serde(default)]
    pub seed: u64,
}

fn one() -> usize {
    1
}

fn four() -> usize {
    4
}

/// What words are also called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WordAlternatives {
    alternatives: HashMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct AlternativesLine {
    word: String,
    alternatives: Vec<String>,
}

impl WordAlternatives {
    /// Reads a file.
    ///
    /// # Errors
    /// [`TrainingError::Data`] with the line that is broken or holds an empty text; the file cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let mut alternatives: HashMap<String, Vec<String>> = HashMap::new();
        let text = fs_err::read_to_string(path)?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let broken = |reason: String| TrainingError::Data {
                path: path.to_owned(),
                reason: format!("line {}: {reason}", number + 1),
            };
            let AlternativesLine { word, alternatives: others } =
                serde_json::from_str(line).map_err(|error| broken(error.to_string()))?;
            if std::iter::once(&word).chain(&others).any(|text| text.trim().is_empty()) {
                return Err(broken("expected a text in every field, found an empty one".to_owned()));
            }
            let word = word.trim().to_lowercase();
            // A word that is also called itself would teach nothing.
            let others: Vec<String> =
                others.into_iter().filter(|other| other.trim().to_lowercase() != word).collect();
            alternatives.entry(word).or_default().extend(others);
        }
        alternatives.retain(|_, others| !others.is_empty());
        Ok(Self { alternatives })
    }

    fn alternatives(&self, word: &str) -> Option<&[String]> {
        self.alternatives.get(&word.to_lowercase()).map(Vec::as_slice)
    }

    /// `text` with up to `most` of its words replaced; `None` if the lexicon has none of them.
    pub(super) fn hardened(&self, text: &str, most: usize, rng: &mut impl rand::Rng) -> Option<String> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let mut places: Vec<usize> =
            (0..words.len()).filter(|&place| self.alternatives(words[place]).is_some()).collect();
        if places.is_empty() {
            return None;
        }
        places.shuffle(rng);
        places.truncate(rng.random_range(1..=most.max(1)));
        for place in places {
            if let Some(others) = self.alternatives(words[place])
                && let Some(other) = others.get(rng.random_range(0..others.len()))
            {
                words[place] = other;
            }
        }
        Some(with_articles(&words))
    }
}

/// The words as a text, with "a" and "an" as the next word wants them.
fn with_articles(words: &[&str]) -> String {
    let mut text = String::new();
    for (place, word) in words.iter().enumerate() {
        let next = words.get(place + 1).and_then(|next| next.chars().next());
        let vowel = next.is_some_and(|first| "aeiou".contains(first.to_ascii_lowercase()));
        let word = match (*word, vowel) {
            ("a", true) => "an",
            ("an", false) => "a",
            ("A", true) => "An",
            ("An", false) => "A",
            (other, _) => other,
        };
        if place > 0 {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

/// The hard queries of all training captions, each with its caption as the one candidate. Captions none of whose words
/// the lexicon has are passed over.
///
/// # Errors
/// Those of [`WordAlternatives::open`].
pub fn read(config: &HardQueryConfig, corpus: &RewritingCorpus) -> Result<Vec<CandidateQuery>> {
    let lexicon = WordAlternatives::open(&config.lexicon)?;
    let mut queries = Vec::new();
    for (picture, entry) in corpus.training.iter().enumerate() {
        let mut rng = stream(config.seed, "hard queries", picture as u64);
        for caption in &entry.captions {
            for _ in 0..config.per_caption {
                if let Some(query) = lexicon.hardened(caption, config.most_words, &mut rng) {
                    let candidates = vec![CandidateRewrite::unscored(caption.clone(), CAPTION)];
                    queries.push(CandidateQuery { query, picture, candidates });
                }
            }
        }
    }
    Ok(queries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon(lines: &str) -> Result<WordAlternatives> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), lines).unwrap();
        WordAlternatives::open(file.path())
    }

    const LINES: &str = r#"{"word": "dog", "alternatives": ["pooch", "dog"], "plain": "dog"}
{"word": "boy", "alternatives": ["urchin"]}
{"word": "red", "alternatives": ["red"]}
"#;

    #[test]
    fn words_are_replaced_up_to_the_number_asked_for() {
        let lexicon = lexicon(LINES).unwrap();
        let mut rng = stream(1, "test", 0);
        for _ in 0..20 {
            let one = lexicon.hardened("A boy and a Dog .", 1, &mut rng).unwrap();
            assert!(["An urchin and a Dog .", "A boy and a pooch ."].contains(&one.as_str()), "{one}");
        }
        let many: Vec<String> =
            (0..20).filter_map(|_| lexicon.hardened("a boy and a dog", 4, &mut rng)).collect();
        assert!(many.contains(&"an urchin and a pooch".to_owned()), "{many:?}");
        assert_eq!(
            lexicon.hardened("red things", 4, &mut rng),
            None,
            "a word called itself is no other word"
        );
    }

    #[test]
    fn the_same_seed_makes_the_same_queries() {
        let lexicon = lexicon(LINES).unwrap();
        let draw = |seed| {
            let mut rng = stream(seed, "test", 0);
            (0..8).filter_map(|_| lexicon.hardened("a boy and a dog", 2, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn broken_lines_are_named() {
        for (lines, expected) in [
            ("{\"word\": \"dog\"}", "line 1: missing field `alternatives`"),
            (
                "{\"word\": \"a\", \"alternatives\": [\"b\"]}\n{\"word\": \"a\", \"alternatives\": [\"\"]}",
                "line 2: expected a text",
            ),
        ] {
            let error = lexicon(lines).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
