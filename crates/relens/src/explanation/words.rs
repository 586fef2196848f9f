//! What each word of a query adds to a score: Shapley values.
//!
//! A word's value is what it adds to the score of a text, averaged over all orders in which the words could be put in
//! (Shapley, 1953; Štrumbelj and Kononenko, 2014). The values add up to the score of the text less that of no text,
//! whatever the text tower is made of. With few words all subsets are embedded, and the values are exact; with more,
//! orders are drawn, each beside its reverse, which keeps the sum exact.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::embed::TextEmbedder;
use crate::error::{Error, Result};

/// Up to so many words, all their subsets are embedded.
const EXACT_WORDS: usize = 7;
/// Orders drawn for longer texts; each is used forwards and backwards.
const DRAWN_ORDERS: usize = 12;
/// Words beyond these stay in the text and get no value.
const MOST_WORDS: usize = 40;

/// A word and what it adds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WordAttribution {
    /// The word as it stands in the text; of a script without blanks, a character.
    pub word: String,
    /// What it adds to the score.
    pub value: f64,
}

/// The words of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextAttribution {
    /// The text.
    pub text: String,
    /// Its score.
    pub score: f64,
    /// The score with no word.
    pub empty_score: f64,
    /// The words in their order.
    pub words: Vec<WordAttribution>,
}

/// Explains the score of `text` with one picture.
///
/// # Shapes
/// - `picture`: `[dim]`, the picture's embedding
///
/// # Errors
/// Those of the embedder; [`Error::Argument`] if the picture has another number of components.
pub fn explain_words(embedder: &dyn TextEmbedder, text: &str, picture: &[f32]) -> Result<TextAttribution> {
    let words = split(text);
    let explained = words.len().min(MOST_WORDS);
    let orders = orders(explained);
    let mut game = Game { embedder, picture, words: &words, explained, scores: HashMap::new() };
    let whole = full(explained);
    let values = if explained <= EXACT_WORDS {
        game.score_all((0..=whole).collect())?;
        exact_values(&game, explained)?
    } else {
        game.score_all(orders.iter().flat_map(|order| prefixes(order)).collect())?;
        drawn_values(&game, &orders, explained)?
    };
    let words =
        words.iter().zip(values).map(|(word, value)| WordAttribution { word: word.text.to_owned(), value });
    Ok(TextAttribution {
        text: text.to_owned(),
        score: game.score(whole)?,
        empty_score: game.score(0)?,
        words: words.collect(),
    })
}

/// A word and whether a blank stands before it.
struct ShownWord<'a> {
    text: &'a str,
    after_blank: bool,
}

/// Words at blanks; characters of Chinese and Japanese each alone.
fn split(text: &str) -> Vec<ShownWord<'_>> {
    let mut words = Vec::new();
    for chunk in text.split_whitespace() {
        let mut start = 0;
        let mut after_blank = true;
        let mut push = |from: usize, to: usize| {
            if let Some(text) = chunk.get(from..to).filter(|text| !text.is_empty()) {
                words.push(ShownWord { text, after_blank });
                after_blank = false;
            }
        };
        for (at, letter) in chunk.char_indices() {
            if stands_alone(letter) {
                push(start, at);
                start = at + letter.len_utf8();
                push(at, start);
            }
        }
        push(start, chunk.len());
    }
    words
}

fn stands_alone(letter: char) -> bool {
    matches!(u32::from(letter), 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3ffff)
}

/// A set of words, a bit each.
type Subset = u64;

fn full(words: usize) -> Subset {
    (1 << words) - 1
}

/// The scores of texts that hold some of the words.
struct Game<'a> {
    embedder: &'a dyn TextEmbedder,
    picture: &'a [f32],
    words: &'a [ShownWord<'a>],
    explained: usize,
    scores: HashMap<Subset, f64>,
}

impl Game<'_> {
    fn text(&self, subset: Subset) -> String {
        let mut text = String::new();
        for (position, word) in self.words.iter().enumerate() {
            if position < self.explained && (subset >> position) & 1 == 0 {
                continue;
            }
            if word.after_blank && !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word.text);
        }
        text
    }

    fn score_all(&mut self, subsets: Vec<Subset>) -> Result<()> {
        let mut wanted = Vec::new();
        for subset in subsets {
            if let Entry::Vacant(entry) = self.scores.entry(subset) {
                // A place holder, so that a subset that occurs in several orders is embedded once.
                entry.insert(0.0);
                wanted.push(subset);
            }
        }
        let texts: Vec<String> = wanted.iter().map(|&subset| self.text(subset)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let embeddings = self.embedder.embed_texts(&texts)?;
        if embeddings.dim() != self.picture.len() {
            return Err(Error::Argument {
                operation: "explain_words",
                expected: format!("a picture of {} components", embeddings.dim()),
                found: self.picture.len().to_string(),
            });
        }
        for (subset, row) in wanted.into_iter().zip(embeddings.iter()) {
            let score = row.iter().zip(self.picture).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            self.scores.insert(subset, score);
        }
        Ok(())
    }

    fn score(&self, subset: Subset) -> Result<f64> {
        self.scores.get(&subset).copied().ok_or_else(|| Error::Argument {
            operation: "explain_words",
            expected: "a subset that was scored".to_owned(),
            found: format!("{subset:b}"),
        })
    }
}

/// `Σ |S|!·(n − |S| − 1)!/n! · (v(S ∪ i) − v(S))` over all subsets without i.
fn exact_values(game: &Game<'_>, words: usize) -> Result<Vec<f64>> {
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    let value = |word: usize| {
        let without = (0..=full(words)).filter(|subset| (subset >> word) & 1 == 0);
        without
            .map(|subset| {
                let size = subset.count_ones() as usize;
                let weight = factorial(size) * factorial(words - size - 1) / factorial(words);
                Ok(weight * (game.score(subset | (1 << word))? - game.score(subset)?))
            })
            .sum::<Result<f64>>()
    };
    (0..words).map(value).collect()
}

fn drawn_values(game: &Game<'_>, orders: &[Vec<usize>], words: usize) -> Result<Vec<f64>> {
    let mut values = vec![0.0; words];
    for order in orders {
        let mut subset = 0;
        for &word in order {
            let with = subset | (1 << word);
            if let Some(value) = values.get_mut(word) {
                *value += (game.score(with)? - game.score(subset)?) / orders.len() as f64;
            }
            subset = with;
        }
    }
    Ok(values)
}

/// The same orders for the same number of words, always.
fn orders(words: usize) -> Vec<Vec<usize>> {
    // Seeded by the number of words, so that the same text always gets the same values.
    let mut generator = ChaCha8Rng::seed_from_u64(words as u64);
    let mut orders = Vec::with_capacity(2 * DRAWN_ORDERS);
    for _ in 0..DRAWN_ORDERS {
        let mut order: Vec<usize> = (0..words).collect();
        order.shuffle(&mut generator);
        // Every order with its reverse: an early and a late place for each word cancel much of the noise.
        orders.push(order.iter().rev().copied().collect());
        orders.push(order);
    }
    orders
}

fn prefixes(order: &[usize]) -> impl Iterator<Item = Subset> + '_ {
    let growing = order.iter().scan(0, |subset, word| {
        *subset |= 1 << word;
        Some(*subset)
    });
    std::iter::once(0).chain(growing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::embeddings::Embeddings;

    /// A text's one component is the sum of its words' lengths, and 10 more if `sea` stands beside `side`.
    struct Lengths;

    impl TextEmbedder for Lengths {
        fn name(&self) -> &str {
            "lengths"
        }

        fn fingerprint(&self) -> &str {
            "lengths"
        }

        fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings> {
            let score = |text: &&str| {
                let words: Vec<&str> = text.split(' ').collect();
                let both = words.contains(&"sea") && words.contains(&"side");
                words.iter().map(|word| word.chars().count() as f32).sum::<f32>()
                    + if both { 10.0 } else { 0.0 }
            };
            Embeddings::from_rows(1, texts.iter().map(score).collect())
        }
    }

    fn values(text: &str) -> Vec<(String, f64)> {
        let found = explain_words(&Lengths, text, &[1.0]).unwrap();
        let sum: f64 = found.words.iter().map(|word| word.value).sum();
        assert!((sum - (found.score - found.empty_score)).abs() < 1e-9, "{found:?}");
        found.words.into_iter().map(|word| (word.word, (word.value * 1e6).round() / 1e6)).collect()
    }

    #[test]
    fn words_share_what_they_add_together() {
        let expected = [("a", 1.0), ("sea", 8.0), ("side", 9.0), ("dog", 3.0)];
        assert_eq!(values("a sea side dog"), expected.map(|(word, value)| (word.to_owned(), value)));
        assert!(values("").is_empty());
    }

    #[test]
    fn long_texts_add_up_too() {
        let found = values("sea one two three four five six seven eight side");
        // Every order is drawn with its reverse, so two words that only count together share alike.
        assert_eq!((found[0].1, found[9].1), (8.0, 9.0));
        assert_eq!(values(&"word ".repeat(60)).len(), MOST_WORDS);
    }

    #[test]
    fn characters_without_blanks_are_words() {
        let split: Vec<&str> = split("两只狗 in 雪地run").into_iter().map(|word| word.text).collect();
        assert_eq!(split, ["两", "只", "狗", "in", "雪", "地", "run"]);
        let game = Game {
            embedder: &Lengths,
            picture: &[],
            words: &super::split("a 雪地 b"),
            explained: 4,
            scores: HashMap::new(),
        };
        assert_eq!([0b1111, 0b1011, 0b0110].map(|subset| game.text(subset)), ["a 雪地 b", "a 雪 b", "雪地"]);
    }

    #[test]
    fn a_picture_of_another_space_is_refused() {
        assert!(explain_words(&Lengths, "a dog", &[1.0, 0.0]).is_err());
    }
}
