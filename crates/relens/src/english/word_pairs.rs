//! How often captions put one word behind another: what stands beside a misspelt word tells which one was meant.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use crate::english::words::words;
use crate::english::{SortedLines, Vocabulary};
use crate::error::Result;

/// The pairs inside the bundled knowledge base's directory.
pub const BUNDLED_FILE: &str = "word-pairs.tsv";
/// Stands before the first word of a text and behind its last.
pub(crate) const EDGE: &str = "^";
/// The fewest times that a pair is met; rarer ones are mostly chance, and twice as many.
const FEWEST: u64 = 3;
/// How many times a word would have to be met for its pairs to count as much as its own frequency.
const PRIOR: f64 = 20.0;

/// Pairs of words and how often captions have them; without a file, none.
#[derive(Debug, Clone, Default)]
pub struct WordPairs(SortedLines);

impl WordPairs {
    /// Reads lines of two words with a space between them, a tab and a count.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) if they are not sorted; [`Error::Io`](crate::error::Error::Io).
    pub fn open(path: &Path) -> Result<Self> {
        SortedLines::open(path).map(Self)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn count(&self, key: &str) -> f64 {
        self.0.get(key).and_then(|count| count.trim().parse().ok()).unwrap_or(0.0)
    }
}

/// How likely words are beside others, by the counts of captions.
pub(crate) struct Context<'a> {
    vocabulary: &'a Vocabulary,
    pairs: &'a WordPairs,
    /// The number of words in all captions.
    total: f64,
}

impl<'a> Context<'a> {
    pub(crate) fn new(vocabulary: &'a Vocabulary, pairs: &'a WordPairs) -> Self {
        let total: u64 = vocabulary.words().map(|word| vocabulary.count(word)).sum();
        Self { vocabulary, pairs, total: total.max(1) as f64 }
    }

    /// The logarithm of how likely `word` is between two others. What captions lack behind it, a misspelt word say, tells
    /// nothing of it.
    pub(crate) fn likelihood(&self, left: &str, word: &str, right: &str) -> f64 {
        let after = if self.count(right) > 0.0 { self.behind(word, right) } else { self.alone(right) };
        self.behind(left, word).ln() + after.ln()
    }

    /// The same where the others say nothing.
    pub(crate) fn likelihood_alone(&self, word: &str, right: &str) -> f64 {
        self.alone(word).ln() + self.alone(right).ln()
    }

    /// The logarithm of how likely `word` is behind another.
    pub(crate) fn likelihood_behind(&self, before: &str, word: &str) -> f64 {
        self.behind(before, word).ln()
    }

    /// A word's share of all words; not nothing, for names that captions lack are words, too.
    fn alone(&self, word: &str) -> f64 {
        (self.count(word) + 0.1) / self.total
    }

    /// The probability of `word` behind `before`, by their pair as far as `before` is frequent, else by `word` alone.
    fn behind(&self, before: &str, word: &str) -> f64 {
        let pair = self.pairs.count(&format!("{before} {word}"));
        (pair + PRIOR * self.alone(word)) / (self.count(before) + PRIOR)
    }

    fn count(&self, word: &str) -> f64 {
        if word == EDGE { self.pairs.count(EDGE) } else { self.vocabulary.count(word) as f64 }
    }
}

/// Counts the pairs of captions, their edges among them, and writes the frequent ones as [`WordPairs::open`] reads them.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) when `writer` fails.
pub fn write_pairs<'a>(captions: impl IntoIterator<Item = &'a str>, writer: &mut impl Write) -> Result<()> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for caption in captions {
        let words = words(caption);
        let mut before = EDGE;
        for word in words.iter().map(|word| word.text.as_ref()).chain([EDGE]) {
            *counts.entry(format!("{before} {word}")).or_default() += 1;
            before = word;
        }
        *counts.entry(EDGE.to_owned()).or_default() += 1;
    }
    for (pair, count) in counts.into_iter().filter(|(_, count)| *count >= FEWEST) {
        writeln!(writer, "{pair}\t{count}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_captions_put_beside_a_word_makes_it_likely() {
        let captions = ["a dog on grass", "a dog on snow", "a dog on sand", "the cow", "the cow"];
        let file = tempfile::NamedTempFile::new().unwrap();
        write_pairs(captions, &mut file.as_file()).unwrap();
        let written = fs_err::read_to_string(file.path()).unwrap();
        assert_eq!(written, "^\t5\n^ a\t3\na dog\t3\ndog on\t3\n");
        let (vocabulary, pairs) = (Vocabulary::of_captions(captions), WordPairs::open(file.path()).unwrap());
        let context = Context::new(&vocabulary, &pairs);
        assert!(context.likelihood("a", "dog", "on") > context.likelihood("a", "cow", "on"));
        assert!(context.likelihood("a", "dog", "on") > context.likelihood_alone("dog", "on"));
        assert!(context.likelihood("grass", "cow", "on") < context.likelihood_alone("cow", "on"));
        assert!(context.likelihood("a", "dog", "om") > context.likelihood_alone("dog", "om"));
        assert!(context.likelihood(EDGE, "zebra", EDGE).is_finite());
    }
}
