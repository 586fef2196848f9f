//! From judged candidates to a record: what is kept, what is dropped, and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::filters::{DropReason, FilterConfig, TextFilter};
use super::low_quality::RankedCaption;
use super::pool::MiningFeedback;
use super::pool::PoolCaption;
use super::record::MinedRewrite;
use crate::Result;
use crate::retriever_feedback::Judgement;

/// A text that may become a rewrite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The text.
    pub text: String,
    /// What kind of rewrite it is.
    pub kind: String,
    /// Who wrote it.
    pub source: &'static str,
    /// The turn in which it was written.
    pub turn: u32,
}

/// What is kept of the candidates of one query.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AcceptanceConfig {
    /// A query is of high quality if its picture is among the first k; default 1.
    pub k: u32,
    /// The most rewrites that are kept because the retriever likes them better than the query; default 5.
    pub keep: usize,
    /// The most rewrites that are kept although it does not, the best of them, for rankings to learn from; default 2.
    pub contrast: usize,
    /// The filters.
    pub filters: FilterConfig,
}

impl Default for AcceptanceConfig {
    fn default() -> Self {
        Self { k: 1, keep: 5, contrast: 2, filters: FilterConfig::default() }
    }
}

/// Counts of dropped rewrites by reason.
pub type Drops = BTreeMap<String, u32>;

/// Counts one more drop.
pub fn drop_one(drops: &mut Drops, reason: DropReason) {
    *drops.entry(reason.name().to_owned()).or_default() += 1;
}

/// Whether the retriever likes a text better than the query: a better rank, or the same and a higher score.
pub fn better(text: Judgement, query: Judgement) -> bool {
    text.rank < query.rank || text.rank == query.rank && text.score > query.score
}

/// The rewrites of one query that are kept, best first, and what was dropped.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Those that are kept.
    pub rewrites: Vec<MinedRewrite>,
    /// Those that are not.
    pub dropped: Drops,
}

/// Judges the proposals for many queries together and keeps the best of each.
///
/// # Errors
/// Those of the judge.
pub fn keep_best(
    judge: &MiningFeedback<'_>,
    settings: &AcceptanceConfig,
    queries: &[(&RankedCaption, Vec<Proposal>)],
) -> Result<Vec<Kept>> {
    let asked: Vec<Proposed<'_>> = queries
        .iter()
        .map(|(ranked, proposals)| Proposed { caption: &ranked.caption, proposals, earlier: &[] })
        .collect();
    let mut judged = rank_proposals(judge, &settings.filters, &asked)?;
    for (judged, (ranked, _)) in judged.iter_mut().zip(queries) {
        shortlist(judged, ranked.judgement, settings);
    }
    compare(judge, &asked, &mut judged)?;
    let kept = judged.into_iter().zip(queries).map(|(judged, (ranked, _))| {
        let mut kept = Kept { rewrites: Vec::new(), dropped: judged.dropped };
        choose(&mut kept, judged.rewrites, ranked.judgement, settings, better);
        kept
    });
    Ok(kept.collect())
}

/// The proposals for one query.
pub struct Proposed<'a> {
    /// The query.
    pub caption: &'a PoolCaption,
    /// The texts.
    pub proposals: &'a [Proposal],
    /// What was judged in earlier turns: it is not judged again.
    pub earlier: &'a [MinedRewrite],
}

/// The proposals of one query that passed the filter, with the retriever's feedback, and what did not pass.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// In the order of the proposals.
    pub rewrites: Vec<MinedRewrite>,
    /// What was dropped.
    pub dropped: Drops,
}

/// Filters the proposals for many queries, ranks those that pass, and compares them with their queries, all together.
///
/// # Errors
/// Those of the judge.
pub fn judge_proposals(
    judge: &MiningFeedback<'_>,
    filters: &FilterConfig,
    queries: &[Proposed<'_>],
) -> Result<Vec<Judged>> {
    let mut judged = rank_proposals(judge, filters, queries)?;
    compare(judge, queries, &mut judged)?;
    Ok(judged)
}

/// How many times as many rewrites as can be kept are compared with their query: some will be too far from it.
const COMPARED_PER_KEPT: usize = 3;

/// Drops what cannot be kept by its rank alone, so that its meaning need not be looked at: that costs as much as ranking.
fn shortlist(judged: &mut Judged, query: Judgement, settings: &AcceptanceConfig) {
    judged.rewrites.sort_by(best_first);
    let (mut good, mut contrast) = (0, 0);
    let dropped = &mut judged.dropped;
    judged.rewrites.retain(|rewrite| {
        let judgement = Judgement { rank: rewrite.rank, score: rewrite.score };
        let (count, kept, reason) = if better(judgement, query) {
            (&mut good, settings.keep, DropReason::Surplus)
        } else {
            (&mut contrast, settings.contrast, DropReason::NoGain)
        };
        *count += 1;
        let listed = *count <= kept.saturating_mul(COMPARED_PER_KEPT);
        if !listed {
            drop_one(dropped, reason);
        }
        listed
    });
}

/// Compares the rewrites of all queries with them.
fn compare(judge: &MiningFeedback<'_>, queries: &[Proposed<'_>], judged: &mut [Judged]) -> Result<()> {
    let pairs: Vec<(&str, &str)> = queries
        .iter()
        .zip(judged.iter())
        .flat_map(|(query, judged)| {
            judged.rewrites.iter().map(|rewrite| (query.caption.query.as_str(), rewrite.text.as_str()))
        })
        .collect();
    let similar = judge.similarities(&pairs)?;
    let rewrites = judged.iter_mut().flat_map(|judged| &mut judged.rewrites);
    rewrites.zip(similar).for_each(|(rewrite, similarity)| rewrite.similarity_to_query = similarity);
    Ok(())
}

/// As [`judge_proposals`], with the similarities to the queries still to be found.
fn rank_proposals(
    judge: &MiningFeedback<'_>,
    filters: &FilterConfig,
    queries: &[Proposed<'_>],
) -> Result<Vec<Judged>> {
    let mut judged: Vec<Judged> = Vec::with_capacity(queries.len());
    let mut texts: Vec<(usize, &PoolCaption, &Proposal)> = Vec::new();
    for (position, query) in queries.iter().enumerate() {
        let mut filter =
            TextFilter::new(filters, &query.caption.query, judge.pool.name(query.caption.picture));
        query.earlier.iter().for_each(|earlier| filter.remember(&earlier.text));
        let mut one = Judged::default();
        for proposal in query.proposals {
            match filter.check(&proposal.text) {
                Ok(()) => texts.push((position, query.caption, proposal)),
                Err(reason) => drop_one(&mut one.dropped, reason),
            }
        }
        judged.push(one);
    }
    let asked: Vec<(&str, usize)> =
        texts.iter().map(|(_, caption, proposal)| (proposal.text.as_str(), caption.picture)).collect();
    let judgements = judge.judge(&asked)?;
    for ((position, _, proposal), judgement) in texts.iter().zip(judgements) {
        if let Some(one) = judged.get_mut(*position) {
            one.rewrites.push(rewrite(proposal, judgement));
        }
    }
    Ok(judged)
}

fn rewrite(proposal: &Proposal, judgement: Judgement) -> MinedRewrite {
    MinedRewrite {
        text: proposal.text.clone(),
        rank: judgement.rank,
        score: judgement.score,
        similarity_to_query: 0.0,
        turn: proposal.turn,
        kind: proposal.kind.clone(),
        source: proposal.source.to_owned(),
    }
}

/// By rank, then by score, then by text.
pub fn best_first(left: &MinedRewrite, right: &MinedRewrite) -> std::cmp::Ordering {
    let by_score = right.score.total_cmp(&left.score);
    left.rank.cmp(&right.rank).then(by_score).then_with(|| left.text.cmp(&right.text))
}

/// Keeps the best of the judged rewrites, best first; `better` says whether the retriever likes one (its first argument)
/// better than the query.
pub fn choose(
    kept: &mut Kept,
    mut rewrites: Vec<MinedRewrite>,
    query: Judgement,
    settings: &AcceptanceConfig,
    better: impl Fn(Judgement, Judgement) -> bool,
) {
    rewrites.sort_by(best_first);
    let (mut good, mut contrast) = (0, 0);
    for rewrite in rewrites {
        if rewrite.similarity_to_query < settings.filters.min_similarity {
            drop_one(&mut kept.dropped, DropReason::Unfaithful);
            continue;
        }
        let judgement = Judgement { rank: rewrite.rank, score: rewrite.score };
        let (count, limit, reason) = if better(judgement, query) {
            (&mut good, settings.keep, DropReason::Surplus)
        } else {
            (&mut contrast, settings.contrast, DropReason::NoGain)
        };
        if *count < limit {
            *count += 1;
            kept.rewrites.push(rewrite);
        } else {
            drop_one(&mut kept.dropped, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::low_quality::{Quality, RankedCaptions};
    use super::super::testing::World;
    use super::*;

    fn proposal(text: &str) -> Proposal {
        Proposal { text: text.to_owned(), kind: "plain".to_owned(), source: "record", turn: 0 }
    }

    #[test]
    fn the_best_are_kept_and_every_drop_is_counted() {
        let world =
            World::new(&[&["wet red dog", "red animal"], &["red animal", "blue cat"], &["green bird"]]);
        let judge = world.judge();
        let low = RankedCaptions::new(&judge, Quality::Low, 1).next_block(9).unwrap();
        assert_eq!(low[0].caption.id, "0.jpg#1");
        let proposals = ["wet red dog", "red dog animal", "Red animal .", "green bird"];
        let queries = [(&low[0], proposals.iter().map(|text| proposal(text)).collect())];
        let filters = FilterConfig { min_similarity: 0.3, ..FilterConfig::default() };
        let settings = AcceptanceConfig { keep: 1, contrast: 1, filters, ..AcceptanceConfig::default() };
        let kept = keep_best(&judge, &settings, &queries).unwrap().remove(0);
        assert_eq!(kept.rewrites.len(), 1);
        assert_eq!((kept.rewrites[0].text.as_str(), kept.rewrites[0].rank), ("wet red dog", 1));
        assert_eq!(kept.dropped.values().sum::<u32>(), 3);
        assert_eq!(kept.dropped["same_as_query"], 1);
        assert_eq!((kept.dropped["unfaithful"], kept.dropped["surplus"]), (1, 1));
    }

    #[test]
    fn many_queries_at_once_are_judged_as_each_alone() {
        let world = World::new(&[&["wet red dog", "red animal"], &["red animal", "blue cat"], &["blue cat"]]);
        let judge = world.judge();
        let low = RankedCaptions::new(&judge, Quality::Any, 1).next_block(9).unwrap();
        let settings = AcceptanceConfig::default();
        let queries: Vec<(&RankedCaption, Vec<Proposal>)> = low
            .iter()
            .map(|caption| (caption, ["wet dog", "red cat", "cold blue cat"].map(proposal).to_vec()))
            .collect();
        let together = keep_best(&judge, &settings, &queries).unwrap();
        for (query, together) in queries.into_iter().zip(together) {
            let alone = keep_best(&judge, &settings, &[query]).unwrap().remove(0);
            assert_eq!((alone.rewrites, alone.dropped), (together.rewrites, together.dropped));
        }
    }
}
