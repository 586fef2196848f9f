//! Keywords, as typed into a search box, brought into the phrase that captions would make of them.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use crate::english::SortedLines;
use crate::english::words::{FUNCTION_WORDS, is_listed, words};
use crate::error::Result;

/// The links inside the bundled knowledge base's directory.
pub const BUNDLED_FILE: &str = "links.tsv";

/// What captions put between two words: "in a" between "man" and "hat".
#[derive(Debug, Default)]
pub struct Links(SortedLines);

impl Links {
    /// Reads lines of two words, a tab, and what stands between them.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) if they are not sorted; [`Error::Io`](crate::error::Error::Io).
    pub fn open(path: &Path) -> Result<Self> {
        SortedLines::open(path).map(Self)
    }

    /// A query of keywords as a phrase; `None` for any other.
    pub(super) fn phrase(&self, text: &str) -> Option<String> {
        let keywords = words(text);
        let is_list = keywords.len() > 1
            && keywords.iter().all(|word| !is_listed(FUNCTION_WORDS, word.text.as_ref()))
            && keywords.iter().skip(1).all(|word| word.joins);
        if !is_list {
            return None;
        }
        let mut phrase = String::with_capacity(text.len() + 16);
        let mut copied = 0;
        for pair in keywords.windows(2) {
            let [left, right] = pair else { continue };
            let Some(link) = self.0.get(&format!("{} {}", left.text, right.text)) else { continue };
            phrase.push_str(text.get(copied..left.range.end).unwrap_or_default());
            phrase.push(' ');
            phrase.push_str(link.split('\t').next().unwrap_or_default());
            phrase.push(' ');
            copied = right.range.start;
        }
        phrase.push_str(text.get(copied..).unwrap_or_default());
        (copied > 0).then_some(phrase)
    }
}

/// What stands between words in captions as links: one or two of these.
const LINKS: &[&str] = &[
    "a",
    "and",
    "and a",
    "are",
    "at",
    "by",
    "down a",
    "in",
    "in a",
    "in the",
    "is",
    "near",
    "of",
    "of a",
    "on",
    "on a",
    "on the",
    "over",
    "over a",
    "the",
    "through",
    "through the",
    "with",
    "with a",
];
/// The fewest captions that a link is met in.
const FEWEST: u64 = 2;

/// Counts the links of captions and writes those that two words have more than twice as often as nothing between them,
/// as [`Links::open`] reads them.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) when `writer` fails.
pub fn write_links<'a>(captions: impl IntoIterator<Item = &'a str>, writer: &mut impl Write) -> Result<()> {
    let mut beside: HashMap<String, u64> = HashMap::new();
    let mut between: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for caption in captions {
        let words = words(caption);
        let words: Vec<&str> = words.iter().map(|word| word.text.as_ref()).collect();
        for window in words.windows(2) {
            *beside.entry(window.join(" ")).or_default() += 1;
        }
        for length in [3, 4] {
            for window in words.windows(length) {
                let [first, link @ .., last] = window else { continue };
                let link = link.join(" ");
                if LINKS.contains(&link.as_str()) {
                    *between.entry(format!("{first} {last}")).or_default().entry(link).or_default() += 1;
                }
            }
        }
    }
    for (pair, links) in between {
        let Some((link, count)) =
            links.iter().max_by(|left, right| left.1.cmp(right.1).then(right.0.cmp(left.0)))
        else {
            continue;
        };
        if *count >= FEWEST && *count > 2 * beside.get(&pair).copied().unwrap_or(0) {
            writeln!(writer, "{pair}\t{link}\t{count}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_what_captions_put_between_two_words() {
        let captions = ["a man in a hat", "the man in a hat", "man hat , dog with ball", "a dog on grass"];
        let mut written = Vec::new();
        write_links(captions, &mut written).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "in hat\ta\t2\nman a\tin\t2\n");
        let mut written = Vec::new();
        write_links([captions[0]; 2], &mut written).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "in hat\ta\t2\nman a\tin\t2\nman hat\tin a\t2\n");
    }

    #[test]
    fn keywords_become_the_phrase_that_captions_make_of_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "dog ball\twith a\nman hat\tin a\n").unwrap();
        let links = Links::open(file.path()).unwrap();
        assert_eq!(
            links.phrase("old man hat dog  ball").as_deref(),
            Some("old man in a hat dog with a ball")
        );
        for text in ["man with hat", "man", "", "man, hat", "cat mouse", "man hat without dog"] {
            assert_eq!(links.phrase(text), None, "{text}");
        }
    }
}
