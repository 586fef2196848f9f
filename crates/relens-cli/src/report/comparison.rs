//! One evaluation beside another, query by query.

use std::collections::HashMap;

use anyhow::{Result, bail};
use relens::evaluation::{BootstrapOptions, Statistic, paired_bootstrap};

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
