//! Which meanings of words a retriever likes, learned offline.
//!
//! A meaning is worth what the retriever's own text space says of it: the similarity of the word and the meaning, more
//! for meanings in words that captions use often, and more for what a word's writers put first.

use std::io::Write;
use std::path::Path;

use crate::embed::TextEmbedder;
use crate::english::{SortedLines, Vocabulary};
use crate::error::{Error, Result};
use crate::knowledge::words::{Word, key};
use crate::progress::Progress;

/// Beside a retriever: which meanings of words it likes.
pub const PREFERENCES_FILE: &str = "preferences.tsv";

/// What the similarity of word and meaning counts.
const SIMILARITY: f32 = 0.4;
/// What the logarithm of the count of a meaning's rarest word counts.
const FAMILIARITY: f32 = 0.02;
/// What being a word's first meaning counts.
const FIRST: f32 = 0.15;
/// Words that are embedded together with their meanings.
const BATCH: usize = 256;

/// Which meanings a retriever likes: of every word its meanings with the gain in rank that each brought, and on how many
/// queries that was measured.
#[derive(Debug, Clone, Default)]
pub struct Preferences(SortedLines);

impl Preferences {
    /// Reads lines of a word and, behind tabs, `meaning:gain:count`.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) if they are not sorted; [`Error::Io`](crate::error::Error::Io).
    pub fn open(path: &Path) -> Result<Self> {
        SortedLines::open(path).map(Self)
    }

    /// What the meaning `text` of `word` gains.
    pub fn gain(&self, word: &str, text: &str) -> Option<f32> {
        self.0.get(word)?.split('\t').find_map(|part| {
            let (gain, _) = part.strip_prefix(text)?.strip_prefix(':')?.split_once(':')?;
            gain.parse().ok()
        })
    }
}

/// Writes what a retriever likes of the meanings of `words`, as [`Preferences::open`] reads it, the best of a word first.
/// Words of one meaning leave nothing to choose; the others are the units of `progress`.
///
/// # Errors
/// Those of the embedder; [`Error::Io`] when `writer` fails; [`Error::Cancelled`].
pub fn write_preferences(
    words: &[Word],
    captions: &Vocabulary,
    embedder: &dyn TextEmbedder,
    writer: &mut impl Write,
    progress: &mut dyn Progress,
) -> Result<()> {
    let ambiguous: Vec<&Word> = words.iter().filter(|word| word.meanings.len() > 1).collect();
    progress.begin("words", ambiguous.len() as u64);
    for (position, batch) in ambiguous.chunks(BATCH).enumerate() {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let texts: Vec<&str> = batch
            .iter()
            .flat_map(|word| {
                std::iter::once(word.word.as_str())
                    .chain(word.meanings.iter().map(|meaning| meaning.text.as_str()))
            })
            .collect();
        let embeddings = embedder.embed_texts(&texts)?;
        let mut rows = embeddings.iter();
        for word in batch {
            let own = rows.next().unwrap_or_default();
            let mut ranked: Vec<(f32, &str)> = Vec::with_capacity(word.meanings.len());
            for (place, meaning) in word.meanings.iter().enumerate() {
                let row = rows.next().unwrap_or_default();
                let similarity: f32 = own.iter().zip(row).map(|(left, right)| left * right).sum();
                let rarest = meaning.text.split(' ').map(|word| captions.count(word)).min().unwrap_or(0);
                let first = if place == 0 { FIRST } else { 0.0 };
                let gain = SIMILARITY * similarity + FAMILIARITY * (rarest as f32).ln_1p() + first;
                ranked.push((gain, &meaning.text));
            }
            ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
            write!(writer, "{}", key(&word.word, &word.language))?;
            for (gain, text) in ranked {
                write!(writer, "\t{text}:{gain:.2}:0")?;
            }
            writeln!(writer)?;
        }
        progress.advance(((position + 1) * BATCH).min(ambiguous.len()) as u64);
    }
    progress.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::Source;
    use crate::knowledge::words::{ENGLISH, Meaning, MeaningKind};
    use crate::progress::tests::Watched;
    use crate::ranking::pipeline::tests::WordCounts;

    #[test]
    fn the_retriever_likes_what_is_near_in_its_own_space() {
        let meaning =
            |text: &str| Meaning { text: text.to_owned(), kind: MeaningKind::Name, source: Source::Llm };
        let word = |word: &str, meanings: &[&str]| Word {
            word: word.to_owned(),
            language: ENGLISH.to_owned(),
            meanings: meanings.iter().map(|text| meaning(text)).collect(),
        };
        let words = [word("big cat", &["rug", "cat"]), word("lad", &["boy"])];
        let embedder = WordCounts { words: &["cat", "rug", "big"] };
        let mut written = tempfile::NamedTempFile::new().unwrap();
        let mut watch = Watched::default();
        write_preferences(&words, &Vocabulary::default(), &embedder, &mut written, &mut watch).unwrap();
        let preferences = Preferences::open(written.path()).unwrap();
        assert!(preferences.gain("big cat", "cat") > preferences.gain("big cat", "rug"));
        assert_eq!((preferences.gain("lad", "boy"), preferences.gain("big cat", "ca")), (None, None));
        assert_eq!((watch.total, watch.advances), (1, vec![1]));
        let mut stopped = Watched { stops_after: Some(0), ..Watched::default() };
        let none = write_preferences(&words, &Vocabulary::default(), &embedder, &mut written, &mut stopped);
        assert!(matches!(none, Err(Error::Cancelled)));
    }
}
