//! Settings of a mixture.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Result, TrainingError};

/// What is mixed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureConfig {
    /// Pairs that are drawn for an epoch. Default 4800, at least 1.
    #[serde(default = "an_epoch")]
    pub examples_per_epoch: usize,
    /// Records whose `concept` is learned in the place of their caption.
    #[serde(default)]
    pub better_captions: Vec<PathBuf>,
    /// Queries that are kept from learning, with all captions of their pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub development: Option<DevelopmentConfig>,
    /// Share of the prompts without any gloss, so that a rewriter does not come to need them. Default 0.2, range [0, 1].
    #[serde(default = "a_fifth")]
    pub without_glosses: f64,
    /// Chance that a gloss is missing, as the knowledge base lacks words. Default 0.1, range [0, 1].
    #[serde(default = "a_tenth")]
    pub gloss_missing: f64,
    /// Chance that the first gloss is another meaning of the word, so that a rewriter learns to doubt. Default 0.15, range
    /// [0, 1].
    #[serde(default = "a_seventh")]
    pub gloss_of_another_sense: f64,
    /// Chance that glosses change places. Default 0.3, range [0, 1].
    #[serde(default = "a_third")]
    pub glosses_swapped: f64,
    /// What is drawn from, at least one.
    pub sources: Vec<MixtureSource>,
}

/// Queries that are kept from learning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevelopmentConfig {
    /// Recorded queries.
    pub records: PathBuf,
    /// How many captions of the file, the last ones.
    pub last: usize,
}

/// A source, and its share of the mixture; shares count beside each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MixtureSource {
    /// Recorded queries, towards what a strong writer made of their caption.
    Records {
        /// Share.
        share: f64,
        /// Files.
        files: Vec<PathBuf>,
        /// Which fields are queries: `rare`, `chatty`, `keywords`, `query`, `caption`. Default: all.
        #[serde(default)]
        wordings: Vec<String>,
        /// The queries' language, if it is not English: they are read word by word. Default `en`.
        #[serde(default = "english")]
        language: String,
    },
    /// Captions with words replaced by what they are also called, towards the caption.
    HardQueries {
        /// Share.
        share: f64,
        /// JSON Lines, `{"word", "alternatives"}`.
        lexicon: PathBuf,
        /// Words that are replaced at most. Default 5.
        #[serde(default = "five")]
        most_words: usize,
    },
    /// Captions, towards what a strong writer made of them, or themselves.
    Captions {
        /// Share.
        share: f64,
    },
    /// Some content words of a caption, towards the caption.
    ContentWords {
        /// Share.
        share: f64,
    },
    /// Captions through other languages and back, word by word and with the words somewhat out of order, towards the
    /// caption.
    Languages {
        /// Share.
        share: f64,
        /// ISO 639-1 codes of languages that the knowledge base has words of.
        languages: Vec<String>,
    },
    /// The captions of the same pictures in another language, word by word, towards the caption of the same number.
    ParallelCaptions {
        /// Share.
        share: f64,
        /// Annotations whose pictures have the same numbers.
        annotations: PathBuf,
        /// ISO 639-1 code.
        language: String,
    },
}

impl MixtureSource {
    /// Its share of the mixture.
    pub fn share(&self) -> f64 {
        match self {
            Self::Records { share, .. }
            | Self::HardQueries { share, .. }
            | Self::Captions { share }
            | Self::ContentWords { share }
            | Self::Languages { share, .. }
            | Self::ParallelCaptions { share, .. } => *share,
        }
    }
}

impl MixtureConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`TrainingError::Setting`] naming the field.
    pub fn check(&self) -> Result<()> {
        if self.examples_per_epoch == 0 {
            return Err(TrainingError::setting("mixture.examples_per_epoch", "at least 1", &0));
        }
        for (field, share) in [
            ("without_glosses", self.without_glosses),
            ("gloss_missing", self.gloss_missing),
            ("gloss_of_another_sense", self.gloss_of_another_sense),
            ("glosses_swapped", self.glosses_swapped),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(TrainingError::setting(format!("mixture.{field}"), "in [0, 1]", &share));
            }
        }
        for source in &self.sources {
            let share = source.share();
            if !(0.0..=1e6).contains(&share) {
                return Err(TrainingError::setting("mixture.sources.share", "in [0, 1e6]", &share));
            }
        }
        let total: f64 = self.sources.iter().map(MixtureSource::share).sum();
        if total <= 0.0 {
            let expected = "at least one source with a share above 0";
            return Err(TrainingError::setting("mixture.sources", expected, &total));
        }
        Ok(())
    }
}

fn an_epoch() -> usize {
    4800
}

fn a_fifth() -> f64 {
    0.2
}

fn a_tenth() -> f64 {
    0.1
}

fn a_seventh() -> f64 {
    0.15
}

fn a_third() -> f64 {
    0.3
}

fn five() -> usize {
    5
}

fn english() -> String {
    relens::knowledge::words::ENGLISH.to_owned()
}
