//! Captions in which a word and its meaning stand for each other.

use std::collections::HashMap;

use crate::dataset::Dataset;
use crate::english::Vocabulary;
use crate::english::words::{WordInText, words};
use crate::knowledge::Words;
use crate::knowledge::words::{ENGLISH, MeaningKind};

/// Pairs of texts: a caption with a word, and the same with the word's meaning.
#[derive(Debug)]
pub struct Substitutions {
    pub(super) words: Vec<String>,
    pub(super) pairs: Vec<Pair>,
    pub(super) captions: Vocabulary,
}

/// One pair.
#[derive(Debug)]
pub(super) struct Pair {
    /// The position of the word.
    pub(super) word: usize,
    /// The position of the image that both texts describe.
    pub(super) image: usize,
    with_word: String,
    with_meaning: String,
}

impl Substitutions {
    /// Makes at most `captions_per_word` pairs for every English word of one word, each of another image, in the dataset's
    /// order. Of a word's meanings the usual one counts: the first name, or else the first that is short.
    pub fn find(dataset: &Dataset, knowledge: &Words, captions_per_word: usize) -> Self {
        let meanings: Vec<(String, String)> = knowledge
            .iter()
            .filter(|word| word.language == ENGLISH && !word.word.contains(' '))
            .filter_map(|word| {
                let of = |kind| word.meanings.iter().find(|meaning| meaning.kind == kind);
                let meaning = of(MeaningKind::Name).or_else(|| of(MeaningKind::Short))?.text.clone();
                Some((word.word, meaning))
            })
            .collect();
        let by_word: HashMap<&str, usize> =
            meanings.iter().enumerate().map(|(number, (word, _))| (word.as_str(), number)).collect();
        let mut by_first: HashMap<&str, Vec<usize>> = HashMap::new();
        for (number, (_, meaning)) in meanings.iter().enumerate() {
            by_first.entry(meaning.split(' ').next().unwrap_or_default()).or_default().push(number);
        }
        let mut pairs: Vec<Pair> = Vec::new();
        // Of every word, its number of pairs and the image of the last.
        let mut found: Vec<(usize, Option<usize>)> = vec![(0, None); meanings.len()];
        for (image, caption) in dataset.captions() {
            let mut wanted = |word: usize| {
                let (count, last) = &mut found[word];
                let takes = *count < captions_per_word && *last != Some(image);
                if takes {
                    (*count, *last) = (*count + 1, Some(image));
                }
                takes
            };
            let in_caption = words(caption);
            for (place, at) in in_caption.iter().enumerate() {
                if let Some(&word) = by_word.get(&*at.text).filter(|&&word| wanted(word)) {
                    let with_meaning = replaced(caption, std::slice::from_ref(at), &meanings[word].1);
                    pairs.push(Pair { word, image, with_word: caption.to_owned(), with_meaning });
                }
                for &word in by_first.get(&*at.text).into_iter().flatten() {
                    let Some(phrase) = phrase_at(&in_caption, place, &meanings[word].1) else { continue };
                    if wanted(word) {
                        let with_word = replaced(caption, phrase, &meanings[word].0);
                        pairs.push(Pair { word, image, with_word, with_meaning: caption.to_owned() });
                    }
                }
            }
        }
        let captions = Vocabulary::of_captions(dataset.captions().map(|(_, caption)| caption));
        Self { words: meanings.into_iter().map(|(word, _)| word).collect(), pairs, captions }
    }

    /// The texts of all pairs, one pair after the other: with the word, then with its meaning.
    pub fn texts(&self) -> Vec<String> {
        self.pairs.iter().flat_map(|pair| [pair.with_word.clone(), pair.with_meaning.clone()]).collect()
    }
}

/// The words from `place` on that make up `phrase`.
fn phrase_at<'a, 'b>(
    in_caption: &'a [WordInText<'b>],
    place: usize,
    phrase: &str,
) -> Option<&'a [WordInText<'b>]> {
    let wanted: Vec<&str> = phrase.split(' ').collect();
    let found = in_caption.get(place..place + wanted.len())?;
    found.iter().zip(&wanted).all(|(word, wanted)| word.text == *wanted).then_some(found)
}

/// The caption with other words in the place of some.
fn replaced(caption: &str, words: &[WordInText<'_>], by: &str) -> String {
    let start = words.first().map_or(0, |word| word.range.start);
    let end = words.last().map_or(start, |word| word.range.end);
    let part = |range: std::ops::Range<usize>| caption.get(range).unwrap_or_default();
    format!("{}{by}{}", part(0..start), part(end..caption.len()))
}
