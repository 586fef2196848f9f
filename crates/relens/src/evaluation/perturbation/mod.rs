//! Captions made harder: the text perturbations of the published robustness benchmark for image–text retrieval.
//!
//! Source: Qiu et al., "Benchmarking Robustness of Multimodal Image-Text Models under Distribution Shift" (2022, arXiv
//! 2212.08044), table 2: six perturbations of characters, five of words, five of sentences. The first eleven have a
//! level from 1 to 5; the sentences have one. There, language models change the style and turn sentences round; here
//! rules do, so that a seed gives the same texts everywhere. A sentence to which no rule applies stays as it is, and
//! [`Perturbed::changed`] counts how many were changed. Back-translation needs a translator: its texts come from a file,
//! in place of a perturbation of this module.
//!
//! ```
//! use relens::evaluation::perturbation::{Perturbation, Synonyms};
//!
//! let keyboard: Perturbation = "keyboard:1".parse()?;
//! let perturbed = keyboard.perturb(&["a dog runs"], &Synonyms::default(), 7);
//! assert_eq!(perturbed.changed, 1);
//! assert_ne!(perturbed.texts[0], "a dog runs");
//! # Ok::<(), relens::error::Error>(())
//! ```

mod characters;
mod sentences;
mod synonyms;
mod words;

use std::fmt;
use std::str::FromStr;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use self::synonyms::Synonyms;
use crate::dataset::Dataset;
use crate::error::{Error, Result};

/// The level that a name without one has.
const DEFAULT_LEVEL: u8 = 2;
/// The share of a text's words that each level touches.
const SHARE_PER_LEVEL: f64 = 0.1;

/// What is done to a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PerturbationKind {
    /// A letter becomes its neighbour on the keyboard.
    Keyboard,
    /// A letter becomes one that optical character recognition takes it for.
    Ocr,
    /// A random letter is put in.
    CharacterInsert,
    /// A letter becomes a random one.
    CharacterReplace,
    /// Two letters change places.
    CharacterSwap,
    /// A letter is left out.
    CharacterDelete,
    /// A word becomes a synonym.
    SynonymReplacement,
    /// A synonym of a word is put in somewhere.
    WordInsertion,
    /// Two words change places.
    WordSwap,
    /// A word is left out.
    WordDeletion,
    /// A punctuation mark is put in.
    InsertPunctuation,
    /// As one would write it in a report.
    Formal,
    /// As one would say it to a friend.
    Casual,
    /// "a man rides a horse" → "a horse is ridden by a man".
    Passive,
    /// "a horse is ridden by a man" → "a man rides a horse".
    Active,
}

use PerturbationKind as Kind;

impl PerturbationKind {
    /// All of them, in the order of the paper's table.
    pub const ALL: [Self; 15] = [
        Kind::Keyboard,
        Kind::Ocr,
        Kind::CharacterInsert,
        Kind::CharacterReplace,
        Kind::CharacterSwap,
        Kind::CharacterDelete,
        Kind::SynonymReplacement,
        Kind::WordInsertion,
        Kind::WordSwap,
        Kind::WordDeletion,
        Kind::InsertPunctuation,
        Kind::Formal,
        Kind::Casual,
        Kind::Passive,
        Kind::Active,
    ];

    /// What `--perturb` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Keyboard => "keyboard",
            Kind::Ocr => "ocr",
            Kind::CharacterInsert => "character-insert",
            Kind::CharacterReplace => "character-replace",
            Kind::CharacterSwap => "character-swap",
            Kind::CharacterDelete => "character-delete",
            Kind::SynonymReplacement => "synonym-replacement",
            Kind::WordInsertion => "word-insertion",
            Kind::WordSwap => "word-swap",
            Kind::WordDeletion => "word-deletion",
            Kind::InsertPunctuation => "insert-punctuation",
            Kind::Formal => "formal",
            Kind::Casual => "casual",
            Kind::Passive => "passive",
            Kind::Active => "active",
        }
    }

    /// Whether it has levels; those of whole sentences have none.
    pub fn has_levels(self) -> bool {
        !matches!(self, Kind::Formal | Kind::Casual | Kind::Passive | Kind::Active)
    }
}

/// A perturbation with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Perturbation {
    kind: PerturbationKind,
    level: u8,
}

impl Perturbation {
    /// A perturbation of `level`, 1 to 5; each level touches a tenth of a text's words more.
    ///
    /// # Errors
    /// [`Error::Argument`] for another level.
    pub fn new(kind: PerturbationKind, level: u8) -> Result<Self> {
        if (1..=5).contains(&level) {
            return Ok(Self { kind, level });
        }
        Err(unusable("a level from 1 to 5".to_owned(), format!("`{}:{level}`", kind.name())))
    }

    /// What is done.
    pub fn kind(&self) -> PerturbationKind {
        self.kind
    }

    /// The texts after it. The same seed gives the same texts; a text depends on its position, not on the others.
    ///
    /// # Shapes
    /// - result: `[texts.len()]`
    pub fn perturb(&self, texts: &[&str], synonyms: &Synonyms, seed: u64) -> Perturbed {
        let texts: Vec<(String, bool)> = (0u64..)
            .zip(texts)
            .map(|(position, text)| {
                // A stream of its own for each text: a sample of a dataset is perturbed as the whole would be.
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(position);
                let perturbed = self.one(text, synonyms, &mut rng);
                let changed = perturbed != *text;
                (perturbed, changed)
            })
            .collect();
        let changed = texts.iter().filter(|(_, changed)| *changed).count();
        Perturbed { texts: texts.into_iter().map(|(text, _)| text).collect(), changed }
    }

    /// The dataset with its captions after the perturbation, and how many of them were changed.
    pub fn perturb_captions(&self, dataset: &Dataset, synonyms: &Synonyms, seed: u64) -> (Dataset, usize) {
        let captions: Vec<&str> = dataset.captions().map(|(_, caption)| caption).collect();
        let Perturbed { texts, changed } = self.perturb(&captions, synonyms, seed);
        let mut perturbed = dataset.clone();
        let captions = perturbed.images.iter_mut().flat_map(|image| &mut image.captions);
        captions.zip(texts).for_each(|(caption, text)| *caption = text);
        (perturbed, changed)
    }

    fn one(&self, text: &str, synonyms: &Synonyms, rng: &mut ChaCha8Rng) -> String {
        let places = |words: usize| {
            // At least one word, or short captions would stay as they are.
            ((words as f64 * SHARE_PER_LEVEL * f64::from(self.level)).round() as usize).max(1)
        };
        match self.kind {
            Kind::Formal => sentences::formal(text),
            Kind::Casual => sentences::casual(text),
            Kind::Passive => sentences::passive(text),
            Kind::Active => sentences::active(text),
            Kind::SynonymReplacement => words::replace_by_synonyms(text, places, synonyms, rng),
            Kind::WordInsertion => words::insert_synonyms(text, places, synonyms, rng),
            Kind::WordSwap => words::swap(text, places, rng),
            Kind::WordDeletion => words::delete(text, places, rng),
            Kind::InsertPunctuation => words::insert_punctuation(text, places, rng),
            kind => characters::perturb(text, kind, places, rng),
        }
    }
}

impl FromStr for Perturbation {
    type Err = Error;

    /// Reads `NAME` or `NAME:LEVEL`.
    fn from_str(text: &str) -> Result<Self> {
        let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
        let known = || Kind::ALL.map(Kind::name).join(", ");
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| unusable(format!("one of {}", known()), format!("`{name}`")))?;
        let Some(level) = level else { return Self::new(kind, DEFAULT_LEVEL) };
        if !kind.has_levels() {
            return Err(unusable(format!("`{name}` without a level: it has but one"), format!("`{text}`")));
        }
        let level = level.parse();
        Self::new(kind, level.map_err(|_| unusable("a level from 1 to 5".to_owned(), format!("`{text}`")))?)
    }
}

impl fmt::Display for Perturbation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.has_levels() {
            true => write!(formatter, "{}:{}", self.kind.name(), self.level),
            false => formatter.write_str(self.kind.name()),
        }
    }
}

fn unusable(expected: String, found: String) -> Error {
    Error::Argument { operation: "perturbation", expected, found }
}

/// Texts after a perturbation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Perturbed {
    /// The texts, in order.
    pub texts: Vec<String>,
    /// How many of them are not what they were.
    pub changed: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{DatasetImage, Split};
    use proptest::prelude::*;

    const CAPTION: &str = "Two brown dogs are chasing a red ball on the wet beach";

    fn synonyms() -> Synonyms {
        [("dogs", vec!["pooches", "hounds"]), ("beach", vec!["shore"])].into_iter().collect()
    }

    #[test]
    fn every_perturbation_with_levels_changes_a_caption_and_more_with_the_level() {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.has_levels()) {
            let changed_words = |level| {
                let perturbed =
                    Perturbation::new(kind, level).unwrap().perturb(&[CAPTION], &synonyms(), 1).texts;
                let kept: Vec<&str> = CAPTION.split(' ').collect();
                perturbed[0].split(' ').filter(|word| !kept.contains(word)).count()
                    + usize::from(perturbed[0] != CAPTION)
            };
            assert!(changed_words(1) >= 1, "{}", kind.name());
            assert!(changed_words(5) >= changed_words(1), "{}", kind.name());
        }
    }

    #[test]
    fn a_seed_gives_the_same_texts_whatever_stands_beside_them() {
        let keyboard: Perturbation = "keyboard:3".parse().unwrap();
        let both = keyboard.perturb(&[CAPTION, "a cat"], &Synonyms::default(), 5);
        assert_eq!(both.texts[0], keyboard.perturb(&[CAPTION], &Synonyms::default(), 5).texts[0]);
        assert_ne!(both.texts[0], keyboard.perturb(&[CAPTION], &Synonyms::default(), 6).texts[0]);
        assert_eq!(both.changed, 2);
    }

    #[test]
    fn names_are_read_and_written_and_others_are_refused_with_what_is_known() {
        for kind in Kind::ALL {
            let perturbation: Perturbation = kind.name().parse().unwrap();
            assert_eq!(perturbation.to_string().parse::<Perturbation>().unwrap(), perturbation);
        }
        for wrong in ["typo", "keyboard:0", "keyboard:6", "keyboard:x", "passive:2", ""] {
            let error = wrong.parse::<Perturbation>().unwrap_err().to_string();
            assert!(error.contains("expected"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_dataset_keeps_its_images_and_the_order_of_its_captions() {
        let image = |id, captions: &[&str]| DatasetImage {
            id,
            path: "a.jpg".into(),
            split: Split::Val,
            captions: captions.iter().map(|&caption| caption.to_owned()).collect(),
        };
        let images = vec![image(0, &["a man rides a horse", "a dog"]), image(1, &[]), image(2, &["a kid"])];
        let dataset = Dataset { name: "three".to_owned(), images_directory: "images".into(), images };
        let passive = Perturbation::new(Kind::Passive, 1).unwrap();
        let (perturbed, changed) = passive.perturb_captions(&dataset, &Synonyms::default(), 0);
        let captions: Vec<(usize, &str)> = perturbed.captions().collect();
        assert_eq!(captions, [(0, "a horse is ridden by a man"), (0, "a dog"), (2, "a kid")]);
        assert_eq!(changed, 1);
    }

    proptest! {
        #[test]
        fn no_text_becomes_empty_and_none_panics(text in "\\PC{0,60}", seed: u64, level in 1u8..=5) {
            for kind in Kind::ALL {
                let perturbed = Perturbation::new(kind, level).unwrap().perturb(&[&text], &synonyms(), seed);
                prop_assert!(text.trim().is_empty() || !perturbed.texts[0].trim().is_empty(), "{}", kind.name());
            }
        }
    }
}
