//! The strategy without a language model: candidates of the composer, chosen by the retriever.

use std::collections::BTreeMap;

use relens::enhancer::Query;
use relens::enhancer::composer::{Change, Generator};

use super::acceptance::{AcceptanceSettings, Kept, Proposal, keep_best};
use super::judge::Judge;
use super::low_quality::RankedUnit;
use super::record::{MinedQuery, Strategy};
use crate::Result;

/// Composes rewrites for many queries; all their candidates are judged together.
///
/// # Errors
/// Those of the generator and the judge.
pub fn compose(
    judge: &Judge<'_>,
    generator: &Generator,
    settings: &AcceptanceSettings,
    units: &[RankedUnit],
) -> Result<Vec<MinedQuery>> {
    let queries = units
        .iter()
        .map(|ranked| Query::new(&ranked.unit.query))
        .collect::<relens::error::Result<Vec<_>>>()?;
    let candidates = generator.generate(&queries)?;
    let proposals: Vec<(&RankedUnit, Vec<Proposal>)> = units
        .iter()
        .zip(candidates)
        .map(|(unit, candidates)| {
            let proposals = candidates.into_iter().map(|candidate| Proposal {
                kind: kind(&candidate.changes).to_owned(),
                text: candidate.text,
                source: "composer",
                turn: 0,
            });
            (unit, proposals.collect())
        })
        .collect();
    let kept = keep_best(judge, settings, &proposals)?;
    Ok(units.iter().zip(kept).map(|(unit, kept)| record(judge, unit, kept)).collect())
}

/// What the furthest change of a candidate is.
fn kind(changes: &[Change]) -> &'static str {
    let rank = |change: &Change| match change {
        Change::Corrected { .. } => (0, "corrected"),
        Change::Dropped { .. } => (1, "shortened"),
        Change::Renamed { .. } => (2, "renamed"),
        Change::Described { .. } => (3, "described"),
    };
    changes.iter().map(rank).max().map_or("unchanged", |(_, name)| name)
}

fn record(judge: &Judge<'_>, ranked: &RankedUnit, kept: Kept) -> MinedQuery {
    MinedQuery {
        id: ranked.unit.id.clone(),
        query: ranked.unit.query.clone(),
        image: judge.pool.name(ranked.unit.picture).to_owned(),
        low_rank: ranked.judgement.rank,
        low_score: ranked.judgement.score,
        rewrites: kept.rewrites,
        strategy: Strategy::Composer,
        prompt: String::new(),
        model: String::new(),
        pictures: None,
        replies: BTreeMap::new(),
        dropped: kept.dropped,
    }
}
