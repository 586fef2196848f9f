//! The words that captions use, with their counts: what a retriever trained on them has seen.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;

use crate::dataset::text_lines::{broken_line, for_each_line};
use crate::english::lemma::singulars;
use crate::english::words::{FUNCTION_WORDS, words};
use crate::error::Result;

/// The vocabulary inside the bundled knowledge base's directory.
pub const BUNDLED_FILE: &str = "vocabulary.tsv";
/// Shorter words have too many neighbours for a correction to be trusted; of theirs only [`frequent`](FREQUENT) words
/// with two letters in another order are.
const SHORTEST_CORRECTED: usize = 4;
/// The shortest words that are corrected at all.
const SHORTEST_SWAPPED: usize = 3;
/// What doubtful corrections have to lead to: a word that is met at least so often.
const FREQUENT: u64 = 20;

/// Words in lower case and how often each is met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    counts: HashMap<String, u64>,
    /// Words that are met in longer names only: "gras" of "mardi gras".
    parts: HashSet<String>,
}

impl Vocabulary {
    /// Counts the words of captions.
    pub fn of_captions<'a>(captions: impl IntoIterator<Item = &'a str>) -> Self {
        let mut vocabulary = Self::default();
        for caption in captions {
            for word in words(caption) {
                *vocabulary.counts.entry(word.text.into_owned()).or_default() += 1;
            }
        }
        vocabulary
    }

    /// Reads lines of a word, a tab and its count.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) naming the line; [`Error::Io`](crate::error::Error::Io).
    pub fn open(path: &Path) -> Result<Self> {
        let mut counts = HashMap::new();
        for_each_line(path, |number, line| {
            let parsed =
                line.split_once('\t').and_then(|(word, count)| Some((word, count.trim().parse().ok()?)));
            let (word, count) = parsed.filter(|(word, _)| !word.is_empty()).ok_or_else(|| {
                broken_line(
                    path,
                    number,
                    "a word, a tab and its count",
                    &crate::dataset::text_lines::excerpt(line),
                )
            })?;
            counts.insert(word.to_lowercase(), count);
            Ok(())
        })?;
        Ok(Self { counts, parts: HashSet::new() })
    }

    /// Writes the words that are met at least `floor` times, the most frequent first.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) when `writer` fails.
    pub fn write(&self, floor: u64, writer: &mut impl Write) -> Result<()> {
        let mut sorted: Vec<(&String, u64)> = self
            .counts
            .iter()
            .map(|(word, &count)| (word, count))
            .filter(|(_, count)| *count >= floor)
            .collect();
        sorted.sort_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(right.0)));
        for (word, count) in sorted {
            writeln!(writer, "{word}\t{count}")?;
        }
        Ok(())
    }

    /// Takes in names: others are corrected to their words, however rare. A name of one word is right; a word of a
    /// longer name, such as "gras" of "mardi gras", may still be meant for a frequent one ("grass").
    pub fn include<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            let words = words(name);
            let whole = words.len() == 1;
            for word in words {
                let word = word.text.into_owned();
                if whole {
                    self.parts.remove(&word);
                    self.counts.entry(word).or_insert(0);
                } else if !self.counts.contains_key(&word) {
                    self.parts.insert(word.clone());
                    self.counts.insert(word, 0);
                }
            }
        }
    }

    /// How often a word in lower case is met.
    pub fn count(&self, word: &str) -> u64 {
        self.counts.get(word).copied().unwrap_or(0)
    }

    /// The share of a text's words that captions use fewer than `least` times, singulars of plurals included; words that
    /// only tell how things stand to each other do not count. 0 for a text without words.
    ///
    /// ```
    /// use relens::english::Vocabulary;
    ///
    /// let vocabulary = Vocabulary::of_captions(["a hand", "two hands", "a dog"]);
    /// assert_eq!(vocabulary.unseen_share("an xylophone in a hand", 1), 0.5);
    /// ```
    pub fn unseen_share(&self, text: &str, least: u64) -> f64 {
        let seen = |word: &str| {
            let singular = singulars(word).iter().map(|singular| self.count(singular)).max();
            self.count(word).max(singular.unwrap_or(0)) >= least
        };
        let found = words(text);
        let content: Vec<&str> = found
            .iter()
            .map(|word| word.text.as_ref())
            .filter(|word| !FUNCTION_WORDS.contains(word) && word.chars().count() > 1)
            .collect();
        let unseen = content.iter().filter(|word| !seen(word)).count();
        unseen as f64 / content.len().max(1) as f64
    }

    /// The number of words.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// All words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.counts.keys().map(String::as_str)
    }

    /// The most frequent word that one typing mistake turns into `word`: a letter too many, too few, wrong, or two in
    /// the wrong order (Damerau, 1964). `None` for known words, short ones, and where nothing is near. Words of three
    /// letters, and those that are met in longer names only, are corrected to frequent words only.
    pub fn correction(&self, word: &str) -> Option<&str> {
        let letters: Vec<char> = word.chars().collect();
        let part = self.parts.contains(word);
        let known = self.counts.contains_key(word) && !part;
        if letters.len() < SHORTEST_SWAPPED || known || !letters.iter().all(|c| c.is_alphabetic()) {
            return None;
        }
        let short = letters.len() < SHORTEST_CORRECTED;
        let candidates = if short { swapped(&letters) } else { one_mistake_away(&letters) };
        let floor = if short || part { FREQUENT } else { 0 };
        let known = candidates
            .iter()
            .filter_map(|candidate| self.counts.get_key_value(candidate.as_str()))
            .filter(|(candidate, count)| **count >= floor && candidate.as_str() != word);
        // The alphabet breaks ties, so that the answer does not depend on the order of candidates.
        let best = known.max_by(|left, right| left.1.cmp(right.1).then(right.0.cmp(left.0)));
        best.map(|(word, _)| word.as_str())
    }
}

fn changed(letters: &[char], change: impl FnOnce(&mut Vec<char>)) -> String {
    let mut changed = letters.to_vec();
    change(&mut changed);
    changed.into_iter().collect()
}

/// All words with two neighbouring letters in the other order.
fn swapped(letters: &[char]) -> Vec<String> {
    (1..letters.len()).map(|position| changed(letters, |word| word.swap(position - 1, position))).collect()
}

fn one_mistake_away(letters: &[char]) -> Vec<String> {
    let mut found = swapped(letters);
    for position in 0..=letters.len() {
        if position < letters.len() {
            found.push(changed(letters, |word| {
                word.remove(position);
            }));
        }
        for letter in 'a'..='z' {
            if position < letters.len() {
                found.push(changed(letters, |word| word[position] = letter));
            }
            found.push(changed(letters, |word| word.insert(position, letter)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mistake_is_corrected_towards_the_frequent_word() {
        let vocabulary = Vocabulary::of_captions([
            "a frisbee and a beach, a beach",
            "beech, the bench's bench bench",
            "dog",
        ]);
        for (typed, meant) in [
            ("frisbe", "frisbee"),
            ("firsbee", "frisbee"),
            ("frisbeee", "frisbee"),
            ("friabee", "frisbee"),
            ("beach", ""),
        ] {
            assert_eq!(vocabulary.correction(typed).unwrap_or_default(), meant, "{typed}");
        }
        assert_eq!(vocabulary.correction("beh"), None);
        assert_eq!(vocabulary.correction("beacch"), Some("beach"));
        assert_eq!(vocabulary.correction("benchs"), Some("bench"));
        assert_eq!(vocabulary.correction("zepelin"), None);
        let mut vocabulary = vocabulary;
        vocabulary.include(["hot zeppelin", "dog"]);
        assert_eq!((vocabulary.correction("zepelin"), vocabulary.count("dog")), (Some("zeppelin"), 1));
    }

    #[test]
    fn doubtful_corrections_lead_to_frequent_words_only() {
        let captions = ["dog grass"; 20];
        let mut vocabulary = Vocabulary::of_captions(captions.into_iter().chain(["gnu"]));
        vocabulary.include(["mardi gras", "tow truck", "kart"]);
        for (typed, meant) in
            [("dgo", Some("dog")), ("dig", None), ("gun", None), ("gras", Some("grass")), ("tow", None)]
        {
            assert_eq!(vocabulary.correction(typed), meant, "{typed}");
        }
        assert_eq!((vocabulary.correction("kart"), vocabulary.correction("kar")), (None, None));
    }

    #[test]
    fn what_is_written_is_read() {
        let vocabulary = Vocabulary::of_captions(["b a b"]);
        let file = tempfile::NamedTempFile::new().unwrap();
        vocabulary.write(1, &mut file.as_file()).unwrap();
        assert_eq!(fs_err::read_to_string(file.path()).unwrap(), "b\t2\na\t1\n");
        assert_eq!(Vocabulary::open(file.path()).unwrap(), vocabulary);
        fs_err::write(file.path(), "a\t1\nb 2\n").unwrap();
        assert!(Vocabulary::open(file.path()).unwrap_err().to_string().contains("line 2"));
    }
}
