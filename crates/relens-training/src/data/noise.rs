//! Noise for denoising: a text with words taken out, swapped or misspelt, from which the text is to be restored.
//!
//! The operations of BART (Lewis et al. 2020, arXiv 1910.13461, section 2.2: infilling, deletion, permutation), on
//! words, and keyboard slips, which queries have and captions do not.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::vocabulary::MASK;
use crate::{Result, TrainingError};

/// How much is changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseConfig {
    /// Share of the words that masked spans cover. Default 0.25, range [0, 0.9].
    pub mask: f64,
    /// Mean length of a span in words (geometric). Default 2, range [1, 10].
    pub span: f64,
    /// Chance that a word is left out without a trace. Default 0.05, range [0, 0.9].
    pub delete: f64,
    /// Chance that a word changes places with the next. Default 0.03, range [0, 0.9].
    pub swap: f64,
    /// Chance that a word is misspelt. Default 0.03, range [0, 0.9].
    pub misspell: f64,
}

impl Default for NoiseConfig {
    fn default() -> Self {
        Self { mask: 0.25, span: 2.0, delete: 0.05, swap: 0.03, misspell: 0.03 }
    }
}

impl NoiseConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`TrainingError::Setting`].
    pub fn check(&self) -> Result<()> {
        for (field, value) in
            [("mask", self.mask), ("delete", self.delete), ("swap", self.swap), ("misspell", self.misspell)]
        {
            if !(0.0..=0.9).contains(&value) {
                return Err(TrainingError::setting(format!("noise.{field}"), "in [0, 0.9]", &value));
            }
        }
        if !(1.0..=10.0).contains(&self.span) {
            return Err(TrainingError::setting("noise.span", "in [1, 10]", &self.span));
        }
        Ok(())
    }
}

/// The text after noise; never empty.
pub fn corrupt(text: &str, config: &NoiseConfig, rng: &mut impl Rng) -> String {
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    for index in 1..words.len() {
        if rng.random_bool(config.swap) {
            words.swap(index - 1, index);
        }
    }
    for word in &mut words {
        if rng.random_bool(config.misspell) {
            *word = misspelt(word, rng);
        }
    }
    words.retain(|_| !rng.random_bool(config.delete));
    let masked = mask_spans(words, config, rng);
    if masked.is_empty() { MASK.to_owned() } else { masked.join(" ") }
}

/// Replaces spans of words by one mask each.
fn mask_spans(words: Vec<String>, config: &NoiseConfig, rng: &mut impl Rng) -> Vec<String> {
    // A span begins so often that spans cover the asked share of all words.
    let begin = (config.mask / (config.span * (1.0 - config.mask) + config.mask)).clamp(0.0, 1.0);
    let mut kept = Vec::with_capacity(words.len());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if !rng.random_bool(begin) {
            kept.push(word);
            continue;
        }
        kept.push(MASK.to_owned());
        while rng.random_bool(1.0 - 1.0 / config.span) {
            words.next();
        }
    }
    kept
}

/// One slip: a letter left out, doubled, or two in the wrong order.
fn misspelt(word: &str, rng: &mut impl Rng) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    if letters.len() < 3 {
        return word.to_owned();
    }
    let place = rng.random_range(0..letters.len() - 1);
    match rng.random_range(0..3u8) {
        0 => {
            letters.remove(place);
        }
        1 => letters.insert(place, letters[place]),
        _ => letters.swap(place, place + 1),
    }
    letters.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    const TEXT: &str = "two brown dogs run after a red ball on the wet sandy beach in the morning";

    #[test]
    fn noise_covers_about_the_asked_share_and_repeats_for_a_seed() {
        let config = NoiseConfig { delete: 0.0, swap: 0.0, misspell: 0.0, ..NoiseConfig::default() };
        let words = TEXT.split(' ').count() as f64;
        let mut rng = stream(1, "noise", 0);
        let rounds = 4000;
        let gone: f64 = (0..rounds)
            .map(|_| {
                let noisy = corrupt(TEXT, &config, &mut rng);
                words - noisy.split(' ').filter(|word| *word != MASK).count() as f64
            })
            .sum();
        let share = gone / (words * f64::from(rounds));
        assert!((0.2..0.3).contains(&share), "{share}");
        let draw = || corrupt(TEXT, &NoiseConfig::default(), &mut stream(7, "noise", 3));
        assert_eq!(draw(), draw());
        assert_ne!(draw(), TEXT);
    }

    #[test]
    fn no_noise_changes_nothing_and_nothing_becomes_empty() {
        let none = NoiseConfig { mask: 0.0, span: 1.0, delete: 0.0, swap: 0.0, misspell: 0.0 };
        assert_eq!(corrupt(TEXT, &none, &mut stream(1, "noise", 0)), TEXT);
        let all = NoiseConfig { delete: 0.9, ..NoiseConfig::default() };
        let mut rng = stream(2, "noise", 0);
        assert!((0..200).all(|_| !corrupt("dog", &all, &mut rng).is_empty()));
    }
}
