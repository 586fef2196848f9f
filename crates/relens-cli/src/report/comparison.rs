//! One evaluation beside another, query by query: captions that a rewrite won, lost or left alone, with their
//! pictures.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use relens::enhancer::WeightedText;
use relens::evaluation::{BootstrapOptions, Statistic, paired_bootstrap};
use similar::{ChangeTag, TextDiff};

use super::inputs::{Interval, RecordedEvaluation};
use crate::query_results::QueryResult;

/// The place of captions whose rank is the same in [`Pair::rank_changes`].
pub(super) const UNCHANGED: usize = 4;

/// Recall@k is compared for these k.
pub(super) const RECALL_AT: [usize; 3] = [1, 5, 10];

/// A recall and its difference to the baseline's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RecallCell {
    pub(super) recall: f64,
    pub(super) difference: Option<Interval>,
}

/// The ranks of the same queries in two evaluations.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub(super) before: &'a RecordedEvaluation,
    pub(super) after: &'a RecordedEvaluation,
}

impl<'a> Pair<'a> {
    /// Two evaluations of the same queries; nothing if one of them was written without its queries.
    pub(super) fn new(before: &'a RecordedEvaluation, after: &'a RecordedEvaluation) -> Result<Option<Self>> {
        if before.queries.is_empty() || after.queries.is_empty() {
            return Ok(None);
        }
        let same =
            |(one, other): (&QueryResult, &QueryResult)| one.query == other.query && one.image == other.image;
        if before.queries.len() != after.queries.len() || !before.queries.iter().zip(&after.queries).all(same)
        {
            bail!(
                "`{}` and `{}`: expected evaluations of the same captions, found different ones",
                before.label,
                after.label
            );
        }
        Ok(Some(Self { before, after }))
    }

    /// Each query with its ranks before and after.
    pub(super) fn queries(&self) -> impl Iterator<Item = (&'a QueryResult, &'a QueryResult)> {
        self.before.queries.iter().zip(&self.after.queries)
    }

    /// The cells of text → image, then those of image → text.
    pub(super) fn cells(&self) -> Result<Vec<RecallCell>> {
        let ranks = |evaluation: &RecordedEvaluation| -> Vec<u32> {
            evaluation.queries.iter().map(|query| query.rank).collect()
        };
        let images = self.before.queries.iter().map(|query| query.image.as_str());
        let clusters = numbered(images);
        let mut cells = compared(&ranks(self.before), &ranks(self.after), Some(&clusters))?;
        let ranks = |evaluation: &RecordedEvaluation| -> Vec<u32> {
            evaluation.pictures.iter().map(|picture| picture.rank).collect()
        };
        let (before, after) = (ranks(self.before), ranks(self.after));
        if before.len() == after.len() && !before.is_empty() {
            cells.extend(compared(&before, &after, None)?);
        }
        Ok(cells)
    }

    /// How far captions moved: losses first, gains last.
    pub(super) fn rank_changes(&self) -> [(&'static str, usize); 9] {
        let mut buckets = [
            ("≤ −100", 0),
            ("−99…−10", 0),
            ("−9…−2", 0),
            ("−1", 0),
            ("same", 0),
            ("+1", 0),
            ("+2…+9", 0),
            ("+10…+99", 0),
            ("≥ +100", 0),
        ];
        for (before, after) in self.queries() {
            let gained = i64::from(before.rank) - i64::from(after.rank);
            let bucket = match gained {
                i64::MIN..=-100 => 0,
                -99..=-10 => 1,
                -9..=-2 => 2,
                -1 => 3,
                0 => 4,
                1 => 5,
                2..=9 => 6,
                10..=99 => 7,
                100.. => 8,
            };
            buckets[bucket].1 += 1;
        }
        buckets
    }
}

fn compared(before: &[u32], after: &[u32], clusters: Option<&[usize]>) -> Result<Vec<RecallCell>> {
    let cell = |k: usize| {
        let hits = after.iter().filter(|rank| **rank as usize <= k).count();
        let statistic = Statistic::RecallAt(k);
        let found = paired_bootstrap(before, after, clusters, statistic, &BootstrapOptions::default())?;
        let interval = Interval { difference: found.difference, lower: found.lower, upper: found.upper };
        Ok(RecallCell { recall: hits as f64 / after.len() as f64, difference: Some(interval) })
    };
    RECALL_AT.into_iter().map(cell).collect()
}

/// Equal paths get equal numbers.
fn numbered<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut numbers = HashMap::new();
    paths
        .map(|path| {
            let next = numbers.len();
            *numbers.entry(path).or_insert(next)
        })
        .collect()
}

/// Examples of each kind.
const SHOWN: usize = 8;

/// A caption, what became of it, and how its picture's rank changed.
#[derive(Debug)]
pub(super) struct CaptionExample<'a> {
    pub(super) query: &'a str,
    pub(super) before: u32,
    pub(super) after: u32,
    pub(super) image: &'a Path,
    /// The rewrites with their weights, as differences to the query.
    pub(super) rewrites: Vec<(f32, Vec<Piece>)>,
}

/// A part of a rewrite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) change: PieceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    Kept,
    Added,
    Removed,
}

/// The three kinds of examples, each with how many there are in all.
pub(super) struct Examples<'a> {
    pub(super) won: (usize, Vec<CaptionExample<'a>>),
    pub(super) lost: (usize, Vec<CaptionExample<'a>>),
    pub(super) unchanged: (usize, Vec<CaptionExample<'a>>),
}

impl<'a> Examples<'a> {
    /// Those with the largest changes, in ratios of ranks: from 10 to 1 is more than from 110 to 100. Unchanged ones are
    /// those that were rewritten and kept their rank.
    pub(super) fn of(pair: &Pair<'a>) -> Self {
        let mut all: Vec<(&QueryResult, &QueryResult)> = pair.queries().collect();
        let gain = |before: &QueryResult, after: &QueryResult| {
            f64::from(before.rank.max(1)).ln() - f64::from(after.rank.max(1)).ln()
        };
        // Stable, so that equal changes stay in the order of the captions.
        all.sort_by(|one, other| gain(other.0, other.1).total_cmp(&gain(one.0, one.1)));
        let moved = |better: bool| {
            all.iter().filter(
                move |(before, after)| {
                    if better { after.rank < before.rank } else { after.rank > before.rank }
                },
            )
        };
        let still = || {
            all.iter().filter(|(before, after)| {
                before.rank == after.rank && !rewrites(&after.query, &after.texts).is_empty()
            })
        };
        let example = |(before, after): &(&'a QueryResult, &'a QueryResult)| CaptionExample {
            query: &after.query,
            before: before.rank,
            after: after.rank,
            image: Path::new(&after.image),
            rewrites: rewrites(&after.query, &after.texts),
        };
        Self {
            won: (moved(true).count(), moved(true).take(SHOWN).map(example).collect()),
            lost: (moved(false).count(), moved(false).rev().take(SHOWN).map(example).collect()),
            unchanged: (still().count(), still().take(SHOWN).map(example).collect()),
        }
    }
}

/// The texts that are not the query itself.
fn rewrites(query: &str, texts: &[WeightedText]) -> Vec<(f32, Vec<Piece>)> {
    let others = texts.iter().filter(|text| text.text != query);
    others.map(|text| (text.weight, word_difference(query, &text.text))).collect()
}

/// What was added to and removed from a text, word by word.
pub(super) fn word_difference(from: &str, to: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for change in TextDiff::from_slices(&tokens(from), &tokens(to)).iter_all_changes() {
        let kind = match change.tag() {
            ChangeTag::Equal => PieceKind::Kept,
            ChangeTag::Delete => PieceKind::Removed,
            ChangeTag::Insert => PieceKind::Added,
        };
        match pieces.last_mut().filter(|piece| piece.change == kind) {
            Some(piece) => piece.text.push_str(change.value()),
            None => pieces.push(Piece { text: change.value().to_owned(), change: kind }),
        }
    }
    pieces
}

/// Words and punctuation marks, each with the blanks before it, so that a full stop that goes takes its blank along.
fn tokens(text: &str) -> Vec<&str> {
    let of_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '\'' | '’' | '-');
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let blanks = rest.len() - rest.trim_start().len();
        let (_, visible) = rest.split_at(blanks);
        let word = visible.find(|letter| !of_word(letter)).unwrap_or(visible.len());
        let mark = visible.chars().next().map_or(0, char::len_utf8);
        let (token, behind) = rest.split_at(blanks + if word == 0 { mark } else { word });
        tokens.push(token);
        rest = behind;
    }
    tokens
}
