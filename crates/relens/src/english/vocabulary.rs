//! The words that captions use, with their counts: what a retriever trained on them has seen.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;

use crate::dataset::text_lines::{broken_line, for_each_line};
use crate::english::lemma::singulars;
use crate::english::words::{FUNCTION_WORDS, is_listed, words};
use crate::error::Result;

/// The vocabulary inside the bundled knowledge base's directory.
pub const BUNDLED_FILE: &str = "vocabulary.tsv";
/// The shortest words that are corrected at all.
const SHORTEST_CORRECTED: usize = 2;
/// The longest: what is longer is no word.
const LONGEST_CORRECTED: usize = 40;
/// Words of so many letters or fewer have so many neighbours that a correction is trusted less.
pub(crate) const SHORT: usize = 3;
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

    /// Reads lines of a word, a tab and its count; what stands behind a further tab is for people.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) naming the line; [`Error::Io`](crate::error::Error::Io).
    pub fn open(path: &Path) -> Result<Self> {
        let mut counts = HashMap::new();
        for_each_line(path, |number, line| {
            let parsed = line.split_once('\t').and_then(|(word, rest)| {
                let count = rest.split('\t').next()?;
                Some((word, count.trim().parse().ok()?))
            });
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
            .filter(|word| !is_listed(FUNCTION_WORDS, word) && word.chars().count() > 1)
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

    /// The words that one typing mistake turns into `word`: a letter too many, too few, wrong, or two in the wrong order
    /// (Damerau, 1964), or characters in place of letters that look like them ("gr@55"). None for known words. Short words,
    /// those with such characters, and those that are met in longer names only may be meant for frequent words only.
    pub fn candidates(&self, word: &str) -> Vec<&str> {
        let letters: Vec<char> = word.chars().collect();
        let part = self.parts.contains(word);
        let known = self.counts.contains_key(word) && !part;
        if !(SHORTEST_CORRECTED..=LONGEST_CORRECTED).contains(&letters.len()) || known {
            return Vec::new();
        }
        let looks = !letters.iter().all(|letter| letter.is_alphabetic());
        let mistaken = if looks { read_by_looks(&letters) } else { one_mistake_away(&letters) };
        let floor = if letters.len() <= SHORT || part || looks { FREQUENT } else { 0 };
        let mut found: Vec<&str> = mistaken
            .iter()
            .filter_map(|candidate| self.counts.get_key_value(candidate.as_str()))
            .filter(|(candidate, count)| **count >= floor && candidate.as_str() != word)
            .map(|(candidate, _)| candidate.as_str())
            .collect();
        // The alphabet gives an order that does not depend on how candidates were made.
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The most frequent of the [`candidates`](Self::candidates). Of short words, which have too many neighbours for a
    /// correction to be trusted, only those are corrected that have two letters in another order.
    pub fn correction(&self, word: &str) -> Option<&str> {
        let letters: Vec<char> = word.chars().collect();
        let swaps = (letters.len() <= SHORT).then(|| swapped(&letters));
        let trusted = |candidate: &&str| {
            swaps.as_ref().is_none_or(|swaps| {
                letters.len() == SHORT && swaps.iter().any(|swapped| swapped.as_str() == *candidate)
            })
        };
        let found = self.candidates(word).into_iter().filter(trusted);
        found.max_by(|left, right| self.count(left).cmp(&self.count(right)).then(right.cmp(left)))
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

/// What characters that are no letters are taken for.
const LOOKS_LIKE: &[(char, &str)] = &[
    ('0', "o"),
    ('1', "il"),
    ('2', "z"),
    ('3', "e"),
    ('4', "a"),
    ('5', "s"),
    ('6', "b"),
    ('7', "t"),
    ('8', "bs"),
    ('9', "gq"),
    ('$', "s"),
    ('@', "a"),
];
/// The most readings of one word.
const MOST_READINGS: usize = 64;

/// Whether a character that is no part of a word may stand for a letter of it.
pub(crate) fn stands_for_a_letter(character: char) -> bool {
    matches!(character, '@' | '$')
}

/// All readings of a word in which some characters stand for letters that look like them; none without any letter.
fn read_by_looks(letters: &[char]) -> Vec<String> {
    if !letters.iter().any(|letter| letter.is_alphabetic()) {
        return Vec::new();
    }
    let mut readings = vec![String::new()];
    for &letter in letters {
        let known = LOOKS_LIKE.iter().find(|(character, _)| *character == letter);
        let meant = match known {
            Some((_, meant)) => (*meant).to_owned(),
            None if letter.is_alphabetic() => letter.to_string(),
            None => return Vec::new(),
        };
        let extended =
            readings.iter().flat_map(|reading| meant.chars().map(move |end| format!("{reading}{end}")));
        readings = extended.take(MOST_READINGS).collect();
    }
    readings
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
    fn characters_that_look_like_letters_are_read_as_them() {
        let vocabulary = Vocabulary::of_captions(["grass sled bike is"; 20].into_iter().chain(["rare"]));
        for (typed, meant) in [
            ("gr@55", Some("grass")),
            ("5led", Some("sled")),
            ("b1ke", Some("bike")),
            ("r@re", None),
            ("1", None),
        ] {
            assert_eq!(vocabulary.correction(typed), meant, "{typed}");
        }
        for typed in ["2024", "4x4", "11111111111111111111111111111a", "@", ""] {
            assert_eq!(vocabulary.candidates(typed), [""; 0], "{typed}");
        }
        assert_eq!(vocabulary.candidates("iz"), ["is"]);
        assert_eq!(vocabulary.correction("iz"), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let vocabulary = Vocabulary::of_captions(["b a b"]);
        let file = tempfile::NamedTempFile::new().unwrap();
        vocabulary.write(1, &mut file.as_file()).unwrap();
        assert_eq!(fs_err::read_to_string(file.path()).unwrap(), "b\t2\na\t1\n");
        assert_eq!(Vocabulary::open(file.path()).unwrap(), vocabulary);
        fs_err::write(file.path(), "b\t2\t0.1\t8\na\t1\n").unwrap();
        assert_eq!(Vocabulary::open(file.path()).unwrap(), vocabulary);
        fs_err::write(file.path(), "a\t1\nb 2\n").unwrap();
        assert!(Vocabulary::open(file.path()).unwrap_err().to_string().contains("line 2"));
    }
}
