//! The sources of a mixture, opened.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use relens::dataset::Dataset;
use relens::dataset::rewrites::{CAPTION, RewrittenQuery};
use relens::enhancer::rewriter::glosses::plain;
use relens::evaluation::perturbation::Synonyms;
use relens::knowledge::words::{ENGLISH, Languages, Lexicon};
use relens::progress::Progress;

use super::config::MixtureSource;
use super::{LearnedCaptions, MixturePair, records};
use crate::data::corpus::RewritingCorpus;
use crate::data::hard_queries::hardened;
use crate::{Result, TrainingError};
use relens::counted::{by_number, counted};

/// Words that keywords leave out.
const NOT_KEYWORDS: [&str; 31] = [
    "a", "an", "the", "of", "in", "on", "at", "with", "and", "is", "are", "to", "by", "for", "from", "his",
    "her", "its", "their", "while", "as", "who", "that", "it", "be", "being", "there", "this", "these",
    "some", "into",
];
/// Most content words of keywords.
const MOST_KEYWORDS: usize = 6;
/// How far words move that come out of another language, in words; and how often they move further.
const NEAR: f64 = 0.9;
const FAR: f64 = 1.6;
const FAR_SHARE: f64 = 0.3;

/// The caption that a recorded query asks for, if the record says it.
pub(super) fn caption_of(query: &RewrittenQuery) -> Option<&str> {
    let caption = query.rewrites.iter().find(|rewrite| rewrite.kind == CAPTION);
    caption.map(|rewrite| rewrite.text.as_str())
}

/// A source that pairs are drawn from.
pub(super) enum OpenSource {
    Records {
        queries: Vec<RewrittenQuery>,
        lexicon: Option<Arc<Lexicon>>,
    },
    HardQueries {
        synonyms: Synonyms,
        most_words: usize,
    },
    Captions,
    ContentWords,
    Languages(Vec<Arc<Lexicon>>),
    /// (what is typed, the picture's number, the English caption).
    ParallelCaptions {
        captions: Vec<(String, u64, String)>,
        lexicon: Arc<Lexicon>,
    },
}

impl OpenSource {
    pub(super) fn open(
        source: &MixtureSource,
        learned: &HashSet<u64>,
        corpus: &RewritingCorpus,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        Ok(match source {
            MixtureSource::Records { files, wordings, language, .. } => {
                let lexicon = (language != ENGLISH).then(|| lexicon(language)).transpose()?;
                Self::Records { queries: recorded(files, wordings, learned, progress)?, lexicon }
            }
            MixtureSource::HardQueries { lexicon, most_words, .. } => {
                Self::HardQueries { synonyms: Synonyms::open(lexicon)?, most_words: *most_words }
            }
            MixtureSource::Captions { .. } => Self::Captions,
            MixtureSource::ContentWords { .. } => Self::ContentWords,
            MixtureSource::Languages { languages, .. } => {
                Self::Languages(languages.iter().map(|language| lexicon(language)).collect::<Result<_>>()?)
            }
            MixtureSource::ParallelCaptions { annotations, language, .. } => Self::ParallelCaptions {
                captions: parallel(annotations, learned, corpus)?,
                lexicon: lexicon(language)?,
            },
        })
    }

    /// The next pair; none where what was drawn gives none.
    pub(super) fn draw(&self, captions: &LearnedCaptions, rng: &mut impl Rng) -> Option<MixturePair> {
        match self {
            Self::Records { queries, lexicon } => {
                let query = one_of(queries, rng)?;
                let text = match lexicon {
                    Some(lexicon) => lexicon.english(&query.query).text,
                    None => query.query.clone(),
                };
                Some(MixturePair { query: text, target: captions.target_of(query) })
            }
            Self::HardQueries { synonyms, most_words } => {
                let (_, caption) = one_of(&captions.all, rng)?;
                let query = hardened(caption, synonyms, *most_words, rng)?;
                Some(MixturePair { query, target: plain(caption) })
            }
            Self::Captions => {
                let (picture, caption) = one_of(&captions.all, rng)?;
                Some(MixturePair { query: caption.clone(), target: captions.target(*picture, caption) })
            }
            Self::ContentWords => {
                let (_, caption) = one_of(&captions.all, rng)?;
                let caption = plain(caption);
                Some(MixturePair { query: keywords(&caption, rng), target: caption })
            }
            Self::Languages(lexica) => {
                let lexicon = one_of(lexica, rng)?;
                let (_, caption) = one_of(&captions.all, rng)?;
                let caption = plain(caption);
                Some(MixturePair { query: there_and_back(&caption, lexicon, rng), target: caption })
            }
            Self::ParallelCaptions { captions: parallel, lexicon } => {
                let (typed, picture, caption) = one_of(parallel, rng)?;
                let query = lexicon.english(typed).text;
                Some(MixturePair { query, target: captions.target(*picture, caption) })
            }
        }
    }
}

fn one_of<'a, T>(items: &'a [T], rng: &mut impl Rng) -> Option<&'a T> {
    if items.is_empty() { None } else { items.get(rng.random_range(0..items.len())) }
}

fn lexicon(language: &str) -> Result<Arc<Lexicon>> {
    Languages::bundled(Vec::new())?.lexicon(language)?.ok_or_else(|| {
        let expected = "a language that the knowledge base has words of";
        TrainingError::setting("mixture.sources.language", expected, &language)
    })
}

fn recorded(
    files: &[PathBuf],
    wordings: &[String],
    learned: &HashSet<u64>,
    progress: &mut dyn Progress,
) -> Result<Vec<RewrittenQuery>> {
    let mut queries = Vec::new();
    for file in files {
        let read = records(file)?;
        let total = read.len();
        let ours = |query: &RewrittenQuery| query.imgid.is_some_and(|id| learned.contains(&id));
        let kept: Vec<RewrittenQuery> = read.into_iter().filter(ours).collect();
        if kept.len() < total {
            let others = total - kept.len();
            let (are, queries) = (by_number(&others, "is", "are"), counted(total, "query"));
            progress.message(&format!(
                "{}: {others} of {queries} {are} for pictures that are not learned from: left out",
                file.display()
            ));
        }
        queries.extend(
            kept.into_iter()
                .filter(|query| wordings.is_empty() || wordings.iter().any(|w| w == query.wording)),
        );
    }
    if queries.is_empty() {
        let expected = "files with at least one query for a training picture";
        return Err(TrainingError::setting("mixture.sources.files", expected, &"none"));
    }
    Ok(queries)
}

fn parallel(
    annotations: &Path,
    learned: &HashSet<u64>,
    corpus: &RewritingCorpus,
) -> Result<Vec<(String, u64, String)>> {
    // The pictures themselves are not read.
    let dataset = Dataset::open(annotations, Path::new(""))?;
    let english: HashMap<u64, &[String]> = corpus
        .training
        .iter()
        .filter(|picture| learned.contains(&picture.id))
        .map(|picture| (picture.id, picture.captions.as_slice()))
        .collect();
    let mut found = Vec::new();
    for picture in &dataset.images {
        let Some(captions) = english.get(&picture.id) else { continue };
        let pairs = picture.captions.iter().zip(*captions);
        found.extend(pairs.map(|(typed, caption)| (typed.clone(), picture.id, caption.clone())));
    }
    if found.is_empty() {
        let reason = "expected captions of pictures that are learned from, found none".to_owned();
        return Err(TrainingError::Data { path: annotations.to_owned(), reason });
    }
    Ok(found)
}

/// Two to six content words, in the caption's order or in any.
fn keywords(caption: &str, rng: &mut impl Rng) -> String {
    let mut words: Vec<&str> = caption.split(' ').filter(|word| !NOT_KEYWORDS.contains(word)).collect();
    if rng.random_bool(0.5) {
        words.shuffle(rng);
    }
    words.truncate(rng.random_range(2..=MOST_KEYWORDS));
    words.join(" ")
}

/// The words of a caption as another language's forms read word by word. Words that the lexicon lacks stay or go: a
/// language has another way of saying them, or none.
fn there_and_back(caption: &str, lexicon: &Lexicon, rng: &mut impl Rng) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in caption.split(' ') {
        let forms = lexicon.forms(word);
        // The commonest forms are the likeliest.
        let rank = (-rng.random::<f64>().max(1e-9).ln()) as usize;
        match forms.get(rank.min(forms.len().saturating_sub(1))) {
            Some(form) => words.push(lexicon.meanings(form).first().map_or(word, String::as_str).to_owned()),
            None if rng.random_bool(0.5) => words.push(word.to_owned()),
            None => {}
        }
    }
    let reach = if rng.random_bool(FAR_SHARE) { FAR } else { NEAR };
    let mut placed: Vec<(f64, String)> = words
        .into_iter()
        .enumerate()
        .map(|(place, word)| (place as f64 + rng.random::<f64>() * reach, word))
        .collect();
    placed.sort_by(|left, right| left.0.total_cmp(&right.0));
    placed.into_iter().map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}
