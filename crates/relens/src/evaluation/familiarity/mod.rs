//! How well does a retriever know a word? Measured, for retrievers whose captions nobody has counted.
//!
//! A word is unfamiliar where a caption that holds it finds its picture later than the same caption with the word's
//! meaning in its place. [`Substitutions::find`] makes such pairs: from captions that hold the word, and from those that
//! hold the meaning. [`Substitutions::measure`] ranks both texts of each pair against all pictures.
//!
//! A few pairs a word are noisy, so that a word's mean gain is shrunk towards that of the words that captions use about
//! as often, as much as the scatter of the data asks for (empirical Bayes; Efron and Morris, 1973).
//!
//! The result stands in the place of caption counts: lines of a word, a tab and its count, most frequent first, as
//! [`Vocabulary::open`] reads them. A measured word has two columns more, its gain and the number of its pairs, and in
//! place of its count a number that says the same to whoever compares it with a threshold: [`KNOWN`] where replacing the
//! word gains nothing, less where it gains.

mod shrinkage;
mod substitutions;

use std::io::Write;

pub use substitutions::Substitutions;

use crate::embed::embeddings::Embeddings;
use crate::english::Vocabulary;
use crate::error::{Error, Result};
use crate::evaluation::GroundTruthRanks;
use crate::ranking::CombinedQueries;

/// The count of a word whose replacement gains nothing: the lowest that the composer leaves alone by default.
pub const KNOWN: u64 = 11;
/// What a gain of one (ranks that fall by a factor of e) takes from the logarithm of [`KNOWN`].
const STEEPNESS: f64 = 2.0;

/// What replacing a word gains.
#[derive(Debug, Clone, PartialEq)]
pub struct WordGain {
    /// The word.
    pub word: String,
    /// The mean of ln(rank with the word) − ln(rank with its meaning), shrunk.
    pub gain: f64,
    /// Over how many captions.
    pub captions: usize,
}

impl WordGain {
    /// The count that says the same.
    pub fn count(&self) -> u64 {
        let count = KNOWN as f64 * (-STEEPNESS * self.gain).exp();
        // Beyond a hundred times it is known as well as words can be.
        count.clamp(0.0, 100.0 * KNOWN as f64) as u64
    }
}

/// How well a retriever knows words.
#[derive(Debug, Clone)]
pub struct Familiarity {
    /// Words that were measured, sorted.
    pub measured: Vec<WordGain>,
    captions: Vocabulary,
}

impl Familiarity {
    /// Writes all words, the best known first.
    ///
    /// # Errors
    /// [`Error::Io`] when `writer` fails.
    pub fn write(&self, writer: &mut impl Write) -> Result<()> {
        let is_measured =
            |word: &str| self.measured.binary_search_by(|known| known.word.as_str().cmp(word)).is_ok();
        let counted = self.captions.words().filter(|word| !is_measured(word));
        let counted = counted.map(|word| (self.captions.count(word), word, None));
        let measured = self.measured.iter().map(|known| (known.count(), known.word.as_str(), Some(known)));
        let mut lines: Vec<(u64, &str, Option<&WordGain>)> = counted.chain(measured).collect();
        lines.sort_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(right.1)));
        for (count, word, known) in lines {
            match known {
                None => writeln!(writer, "{word}\t{count}")?,
                Some(WordGain { gain, captions, .. }) => {
                    writeln!(writer, "{word}\t{count}\t{gain:.3}\t{captions}")?;
                }
            }
        }
        Ok(())
    }

    /// How many of the measured words the retriever does not know well enough.
    pub fn unfamiliar(&self) -> usize {
        self.measured.iter().filter(|known| known.count() < KNOWN).count()
    }
}

impl Substitutions {
    /// Ranks the images for both texts of every pair.
    ///
    /// # Shapes
    /// - `images`: `[dataset.images.len(), dim]`, of the dataset that the pairs were found in
    /// - `texts`: `[self.texts().len(), dim]`, in their order
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no pair or the embeddings do not fit; [`Error::NonFinite`] for embeddings that
    /// cannot be ranked.
    pub fn measure(self, images: &Embeddings, texts: &Embeddings) -> Result<Familiarity> {
        if self.pairs.is_empty() {
            return Err(Error::Argument {
                operation: "Substitutions::measure",
                expected:
                    "captions with words that the knowledge base has a meaning of, or with the meanings"
                        .to_owned(),
                found: "no such caption".to_owned(),
            });
        }
        let image_of_text: Vec<usize> = self.pairs.iter().flat_map(|pair| [pair.image, pair.image]).collect();
        let queries = CombinedQueries::single(texts.clone());
        let ranks = GroundTruthRanks::compute(images, &queries, &image_of_text)?.text_to_image;
        let mut gains: Vec<Vec<f64>> = vec![Vec::new(); self.words.len()];
        for (pair, ranks) in self.pairs.iter().zip(ranks.chunks_exact(2)) {
            let [with_word, with_meaning] = [0, 1].map(|place| f64::from(ranks[place]).ln());
            gains[pair.word].push(with_word - with_meaning);
        }
        let counts: Vec<u64> = self.words.iter().map(|word| self.captions.count(word)).collect();
        let shrunk = shrinkage::shrunk_means(&gains, &counts);
        let measured = self.words.into_iter().zip(&gains).zip(shrunk);
        let mut measured: Vec<WordGain> = measured
            .filter(|((_, gains), _)| !gains.is_empty())
            .map(|((word, gains), gain)| WordGain { word, gain, captions: gains.len() })
            .collect();
        measured.sort_by(|left, right| left.word.cmp(&right.word));
        Ok(Familiarity { measured, captions: self.captions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Dataset, DatasetImage, Split};
    use crate::embed::TextEmbedder;
    use crate::knowledge::Source;
    use crate::knowledge::words::{ENGLISH, Meaning, MeaningKind, Word, Words};
    use crate::ranking::pipeline::tests::WordCounts;

    fn words() -> Words {
        let word = |word: &str, text: &str| Word {
            word: word.to_owned(),
            language: ENGLISH.to_owned(),
            meanings: vec![Meaning { text: text.to_owned(), kind: MeaningKind::Name, source: Source::Llm }],
        };
        Words::default().with([word("pooch", "dog"), word("hound", "dog"), word("zebra", "striped horse")])
    }

    fn dataset() -> Dataset {
        let image = |id: u64, caption: &str| DatasetImage {
            id,
            path: format!("{id}.jpg").into(),
            split: Split::Train,
            captions: vec![caption.to_owned()],
        };
        let captions =
            ["a dog in snow", "the dog on a beach", "a cat in snow", "a hound at home", "a cat on a beach"];
        let images = (0u64..).zip(captions).map(|(id, caption)| image(id, caption)).collect();
        Dataset { name: "five".to_owned(), images_directory: ".".into(), images }
    }

    #[test]
    fn pairs_hold_the_word_and_its_meaning() {
        let found = Substitutions::find(&dataset(), &words(), 8);
        let texts = found.texts();
        let pairs: Vec<(&str, &str)> =
            texts.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
        for pair in [
            ("a pooch in snow", "a dog in snow"),
            ("the hound on a beach", "the dog on a beach"),
            ("a hound at home", "a dog at home"),
        ] {
            assert!(pairs.contains(&pair), "{pairs:?}");
        }
        assert_eq!(pairs.len(), 5);
        assert_eq!(Substitutions::find(&dataset(), &words(), 1).texts().len(), 4);
    }

    /// The retriever knows hounds and dogs; a pooch says nothing to it.
    #[test]
    fn a_word_whose_replacement_gains_is_unfamiliar() {
        let embedder = WordCounts { words: &["dog", "snow", "beach", "cat", "home"] };
        let knows_hounds = |text: &str| text.replace("hound", "dog");
        let dataset = dataset();
        let captions: Vec<String> = dataset.captions().map(|(_, caption)| knows_hounds(caption)).collect();
        let images = embedder.embed_texts(&captions.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let found = Substitutions::find(&dataset, &words(), 8);
        let texts: Vec<String> = found.texts().iter().map(|text| knows_hounds(text)).collect();
        let texts = embedder.embed_texts(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let familiarity = found.measure(&images, &texts).unwrap();
        let names: Vec<&str> = familiarity.measured.iter().map(|known| known.word.as_str()).collect();
        assert_eq!(names, ["hound", "pooch"]);
        assert!(familiarity.measured[0].gain.abs() < familiarity.measured[1].gain, "{familiarity:?}");
        let file = tempfile::NamedTempFile::new().unwrap();
        familiarity.write(&mut file.as_file()).unwrap();
        let read = Vocabulary::open(file.path()).unwrap();
        assert_eq!((read.count("a"), read.count("zebra")), (6, 0));
        assert!(read.count("pooch") < KNOWN && read.count("pooch") < read.count("hound"));
    }

    #[test]
    fn a_gain_is_told_as_a_count() {
        let count = |gain| WordGain { word: String::new(), gain, captions: 1 }.count();
        assert_eq!((count(0.0), count(-0.5), count(0.01)), (KNOWN, 29, 10));
        assert_eq!((count(9.0), count(-9.0), count(f64::NAN)), (0, 1100, 0));
    }

    #[test]
    fn captions_without_any_of_the_words_are_refused() {
        let found = Substitutions::find(&dataset(), &Words::default(), 8);
        let images = Embeddings::new(2);
        assert!(found.measure(&images, &images).unwrap_err().to_string().contains("no such caption"));
    }
}
