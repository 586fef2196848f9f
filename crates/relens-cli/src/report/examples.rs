//! Captions that a rewrite won, lost or left alone, with their pictures.

use std::path::Path;

use relens::enhancer::WeightedText;
use similar::{ChangeTag, TextDiff};

use super::comparison::Pair;
use crate::query_results::QueryResult;

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
