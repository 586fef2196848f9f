//! Captions made hard by a lexicon: queries in words that the retriever may not know, for which the caption is the
//! answer. There are as many of them as one likes, and how hard they are is known.

use std::path::PathBuf;

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};

use relens::dataset::rewrites::CAPTION;
use relens::evaluation::perturbation::Synonyms;

use super::candidates::{CandidateQuery, CandidateRewrite};
use super::corpus::RewritingCorpus;
use crate::Result;
use crate::random::stream;

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

/// `text` with up to `most` of its words replaced by synonyms; `None` where none of them has one.
pub(crate) fn hardened(
    text: &str,
    synonyms: &Synonyms,
    most: usize,
    rng: &mut impl rand::Rng,
) -> Option<String> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let mut places: Vec<usize> =
        (0..words.len()).filter(|&place| !synonyms.of(words[place]).is_empty()).collect();
    if places.is_empty() {
        return None;
    }
    places.shuffle(rng);
    places.truncate(rng.random_range(1..=most.max(1)));
    for place in places {
        if let Some(synonym) = synonyms.of(words[place]).choose(rng) {
            words[place] = synonym;
        }
    }
    Some(with_articles(&words))
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
/// Those of [`Synonyms::open`].
pub fn read(config: &HardQueryConfig, corpus: &RewritingCorpus) -> Result<Vec<CandidateQuery>> {
    let synonyms = Synonyms::open(&config.lexicon)?;
    let mut queries = Vec::new();
    for (picture, entry) in corpus.training.iter().enumerate() {
        let mut rng = stream(config.seed, "hard queries", picture as u64);
        for caption in &entry.captions {
            for _ in 0..config.per_caption {
                if let Some(query) = hardened(caption, &synonyms, config.most_words, &mut rng) {
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

    fn synonyms() -> Synonyms {
        [("dog", vec!["pooch", "dog"]), ("boy", vec!["urchin"]), ("red", vec!["red"])].into_iter().collect()
    }

    #[test]
    fn words_are_replaced_up_to_the_number_asked_for() {
        let synonyms = synonyms();
        let mut rng = stream(1, "test", 0);
        for _ in 0..20 {
            let one = hardened("A boy and a Dog .", &synonyms, 1, &mut rng).unwrap();
            assert!(["An urchin and a Dog .", "A boy and a pooch ."].contains(&one.as_str()), "{one}");
        }
        let many: Vec<String> =
            (0..20).filter_map(|_| hardened("a boy and a dog", &synonyms, 4, &mut rng)).collect();
        assert!(many.contains(&"an urchin and a pooch".to_owned()), "{many:?}");
        assert_eq!(
            hardened("red things", &synonyms, 4, &mut rng),
            None,
            "a word called itself is no other word"
        );
    }

    #[test]
    fn the_same_seed_makes_the_same_queries() {
        let synonyms = synonyms();
        let draw = |seed| {
            let mut rng = stream(seed, "test", 0);
            (0..8).filter_map(|_| hardened("a boy and a dog", &synonyms, 2, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
