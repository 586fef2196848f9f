//! The strategy without a language model: candidates of the composer, chosen by the retriever.

use std::collections::BTreeMap;

use relens::enhancer::Query;
use relens::enhancer::composer::{Generator, Rewording};

use super::acceptance::{AcceptanceConfig, Kept, Proposal, keep_best};
use super::low_quality::RankedCaption;
use super::pool::MiningFeedback;
use super::record::{MinedQuery, MiningStrategy};
use crate::Result;

/// Composes rewrites for many queries; all their candidates are judged together.
///
/// # Errors
/// Those of the generator and the judge.
pub fn compose(
    judge: &MiningFeedback<'_>,
    generator: &Generator,
    settings: &AcceptanceConfig,
    captions: &[RankedCaption],
) -> Result<Vec<MinedQuery>> {
    let queries = captions
        .iter()
        .map(|ranked| Query::new(&ranked.caption.query))
        .collect::<relens::error::Result<Vec<_>>>()?;
    let candidates = generator.generate(&queries)?;
    let proposals: Vec<(&RankedCaption, Vec<Proposal>)> = captions
        .iter()
        .zip(candidates)
        .map(|(caption, candidates)| {
            let proposals = candidates.into_iter().map(|candidate| Proposal {
                kind: kind(&candidate.changes).to_owned(),
                text: candidate.text,
                source: "composer",
                turn: 0,
            });
            (caption, proposals.collect())
        })
        .collect();
    let kept = keep_best(judge, settings, &proposals)?;
    Ok(captions.iter().zip(kept).map(|(caption, kept)| record(judge, caption, kept)).collect())
}

/// What the furthest change of a candidate is.
fn kind(changes: &[Rewording]) -> &'static str {
    let rank = |change: &Rewording| match change {
        Rewording::Corrected { .. } => (0, "corrected"),
        Rewording::Dropped { .. } => (1, "shortened"),
        Rewording::Renamed { .. } => (2, "renamed"),
        Rewording::Described { .. } => (3, "described"),
    };
    changes.iter().map(rank).max().map_or("unchanged", |(_, name)| name)
}

fn record(judge: &MiningFeedback<'_>, ranked: &RankedCaption, kept: Kept) -> MinedQuery {
    MinedQuery {
        id: ranked.caption.id.clone(),
        query: ranked.caption.query.clone(),
        image: judge.pool.name(ranked.caption.picture).to_owned(),
        low_rank: ranked.judgement.rank,
        low_score: ranked.judgement.score,
        rewrites: kept.rewrites,
        strategy: MiningStrategy::Composer,
        prompt: String::new(),
        model: String::new(),
        pictures: None,
        replies: BTreeMap::new(),
        dropped: kept.dropped,
    }
}
