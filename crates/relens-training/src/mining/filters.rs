//! What makes a text useless as a rewrite, whatever the retriever says of it.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a rewrite was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// It has no words.
    Empty,
    /// It is the query, but for case, spacing and punctuation.
    SameAsQuery,
    /// It was there already, but for case, spacing and punctuation.
    Duplicate,
    /// It has too many words.
    TooLong,
    /// It is in another language or script than the query.
    OtherLanguage,
    /// It names a file.
    FileName,
    /// It holds reasoning, markup or talk about the task instead of a query.
    Reasoning,
    /// Its meaning is too far from the query's.
    Unfaithful,
    /// The retriever does not like it better than the query.
    NoGain,
    /// There are better ones enough.
    Surplus,
    /// A blurred text lost too little similarity.
    NotBlurred,
    /// The model's reply could not be used.
    UnusableReply,
}

impl DropReason {
    /// The name in records and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::SameAsQuery => "same_as_query",
            Self::Duplicate => "duplicate",
            Self::TooLong => "too_long",
            Self::OtherLanguage => "other_language",
            Self::FileName => "file_name",
            Self::Reasoning => "reasoning",
            Self::Unfaithful => "unfaithful",
            Self::NoGain => "no_gain",
            Self::Surplus => "surplus",
            Self::NotBlurred => "not_blurred",
            Self::UnusableReply => "unusable_reply",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The filters' limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterConfig {
    /// The most words of a rewrite; default 48, about what a retriever's context of 64 tokens holds.
    pub max_words: usize,
    /// The least cosine of a rewrite's sentence embedding with the query's; default 0.5.
    pub min_similarity: f32,
}

impl Default for FilterConfig {
    fn default() -> Self {
        Self { max_words: 48, min_similarity: 0.5 }
    }
}

/// Endings of picture files.
const FILE_ENDINGS: [&str; 8] = [".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"];

/// What stands in replies that talk about the task. Compared in lower case.
const TALK: [&str; 23] = [
    "the right picture",
    "the wrong picture",
    "<think",
    "</",
    "```",
    "{\"",
    "\":",
    "as an ai",
    "i cannot",
    "i can't",
    "i'm sorry",
    "i am sorry",
    "step 1",
    "step by step",
    "ground truth",
    "the retriever",
    "hard negative",
    "candidate image",
    "rewritten query",
    "original query",
    "rewrite:",
    "query:",
    "analysis:",
];

/// A text without case, punctuation and repeated blanks: what makes two texts the same query.
pub fn comparable(text: &str) -> String {
    let kept: String = text
        .to_lowercase()
        .chars()
        .map(|character| if character.is_alphanumeric() { character } else { ' ' })
        .collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Filters the rewrites of one query, remembering what it has let through.
#[derive(Debug)]
pub struct TextFilter<'a> {
    settings: &'a FilterConfig,
    query: &'a str,
    image_stem: &'a str,
    seen: HashSet<String>,
}

impl<'a> TextFilter<'a> {
    /// For the rewrites of `query`, whose picture has the file name `image`.
    pub fn new(settings: &'a FilterConfig, query: &'a str, image: &'a str) -> Self {
        let name = image.rsplit(['/', '\\']).next().unwrap_or(image);
        let image_stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        Self { settings, query, image_stem, seen: HashSet::new() }
    }

    /// Refuses this text from now on, as if it had been let through before.
    pub fn remember(&mut self, rewrite: &str) {
        self.seen.insert(comparable(rewrite));
    }

    /// Lets a rewrite through, or says why not.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&mut self, rewrite: &str) -> Result<(), DropReason> {
        let same = comparable(rewrite);
        if same.is_empty() {
            return Err(DropReason::Empty);
        }
        if same == comparable(self.query) {
            return Err(DropReason::SameAsQuery);
        }
        let lower = rewrite.to_lowercase();
        // Numbers of three digits occur in queries; the long ones of file names do not.
        let stem = self.image_stem.to_lowercase();
        let named = stem.len() >= 5 && stem.contains(|character: char| character.is_ascii_digit());
        if FILE_ENDINGS.iter().any(|ending| lower.contains(ending)) || named && lower.contains(&stem) {
            return Err(DropReason::FileName);
        }
        if rewrite.trim().contains(['\n', '\r']) || TALK.iter().any(|talk| lower.contains(talk)) {
            return Err(DropReason::Reasoning);
        }
        if rewrite.split_whitespace().count() > self.settings.max_words {
            return Err(DropReason::TooLong);
        }
        if other_language(self.query, rewrite) {
            return Err(DropReason::OtherLanguage);
        }
        if !self.seen.insert(same) {
            return Err(DropReason::Duplicate);
        }
        Ok(())
    }
}

/// Whether the rewrite is surely in another language than the query. Short texts are rarely sure of anything but their
/// script.
fn other_language(query: &str, rewrite: &str) -> bool {
    let (query_script, rewrite_script) = (whatlang::detect_script(query), whatlang::detect_script(rewrite));
    if query_script.is_some() && rewrite_script.is_some() && query_script != rewrite_script {
        return true;
    }
    let sure =
        |text: &str| whatlang::detect(text).filter(whatlang::Info::is_reliable).map(|info| info.lang());
    matches!((sure(query), sure(rewrite)), (Some(query), Some(rewrite)) if query != rewrite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_reason() {
        let settings = FilterConfig::default();
        let query = "A small brown dog is running quickly through the very high grass .";
        let mut filter = TextFilter::new(&settings, query, "train/1000268201_693b08cb0e.jpg");
        let long = "dog ".repeat(49);
        for (text, expected) in [
            (" . ", DropReason::Empty),
            ("a small brown dog is  running quickly through the very high grass", DropReason::SameAsQuery),
            ("a dog, see 1000268201_693b08cb0e", DropReason::FileName),
            ("dog.JPG on grass", DropReason::FileName),
            ("Rewrite: a brown dog", DropReason::Reasoning),
            ("a brown dog\non grass", DropReason::Reasoning),
            ("{\"rewrite\": \"a dog\"}", DropReason::Reasoning),
            (long.as_str(), DropReason::TooLong),
            ("一只棕色的狗在草地上奔跑", DropReason::OtherLanguage),
            (
                "Ein kleiner brauner Hund läuft schnell durch das sehr hohe Gras und bellt die Leute an",
                DropReason::OtherLanguage,
            ),
        ] {
            assert_eq!(filter.check(text), Err(expected), "{text}");
        }
        assert_eq!(filter.check("brown dog in tall grass"), Ok(()));
        assert_eq!(filter.check("Brown dog in tall grass!"), Err(DropReason::Duplicate));
    }

    #[test]
    fn plain_queries_of_any_kind_pass() {
        let settings = FilterConfig::default();
        let mut filter = TextFilter::new(&settings, "dog", "1.jpg");
        for text in ["dogs", "wet dog on a beach", "a dog jumps over 1 bar", "puppy"] {
            assert_eq!(filter.check(text), Ok(()), "{text}");
        }
    }
}
