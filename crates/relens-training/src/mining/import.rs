//! A model's recorded answers as mined data: JSON Lines of
//! `{"imgid", "sentid", "query", "rewrites": [{"kind", "text"}], "blurred"?}`, scored by the retriever.
//!
//! A query of low quality keeps its rewrites. A query of high quality becomes the rewrite of its blurred form, if that
//! has really lost similarity.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use relens::dataset::rewrites::{RewrittenQuery, for_each_record};

use super::acceptance::{AcceptanceConfig, Kept, Proposal, drop_one, keep_best};
use super::filters::{DropReason, TextFilter, comparable};
use super::low_quality::RankedCaption;
use super::pool::MiningFeedback;
use super::pool::{Pool, PoolCaption};
use super::record::{MinedQuery, MiningStrategy};
use super::strategy::blurred_enough;
use crate::Result;
use crate::retriever_feedback::Judgement;

/// Reads files of recorded answers and finds the pool's captions that they are about, in the files' order.
///
/// # Errors
/// [`Error::Dataset`](relens::error::Error::Dataset) naming file, line and field, also for a caption that the pool does not have: another split's
/// queries must not be mined.
pub fn read(paths: &[&Path], pool: &Pool) -> Result<Vec<(PoolCaption, RewrittenQuery)>> {
    let mut captions: HashMap<(u64, String), PoolCaption> = HashMap::new();
    for caption in pool.captions() {
        if let Some(picture) = pool.pictures().get(caption.picture) {
            captions.entry((picture.id, comparable(&caption.query))).or_insert(caption);
        }
    }
    let mut answers: Vec<(PoolCaption, RewrittenQuery)> = Vec::new();
    for &path in paths {
        for_each_record(path, |place, answer| {
            let number = answer.imgid.ok_or_else(|| place.error("`imgid`, the image's number", "none"))?;
            let caption = captions.get(&(number, comparable(&answer.query))).ok_or_else(|| {
                let found = format!("image {number}, `{}`", answer.query);
                place.error("a caption of the pool's images", &found)
            })?;
            answers.push((caption.clone(), answer));
            Ok(())
        })?;
    }
    let mut seen = std::collections::HashSet::new();
    answers.retain(|(caption, _)| seen.insert(caption.id.clone()));
    Ok(answers)
}

/// How recorded answers are turned into records.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportConfig {
    /// What is kept.
    pub acceptance: AcceptanceConfig,
    /// How much similarity to the picture a blurred query must have lost.
    pub blur_margin: f32,
    /// The model's name, for the records.
    pub model: String,
    /// What the records say of the prompt.
    pub prompt: String,
}

/// Scores the answers of many queries together.
///
/// # Errors
/// Those of the judge.
pub fn score(
    judge: &MiningFeedback<'_>,
    settings: &ImportConfig,
    answers: &[(PoolCaption, RewrittenQuery)],
) -> Result<Vec<MinedQuery>> {
    let queries: Vec<(&str, usize)> =
        answers.iter().map(|(caption, _)| (caption.query.as_str(), caption.picture)).collect();
    let blurred: Vec<(&str, usize)> = answers
        .iter()
        .map(|(caption, answer)| (answer.blurred.as_deref().unwrap_or(&caption.query), caption.picture))
        .collect();
    let (judged, blurred) = (judge.judge(&queries)?, judge.judge(&blurred)?);
    let mut worked: Vec<ImportedQuery> = Vec::with_capacity(answers.len());
    for (((caption, answer), judgement), blurred) in answers.iter().zip(judged).zip(blurred) {
        worked.push(ImportedQuery::new(judge, settings, caption, answer, judgement, blurred));
    }
    let proposals: Vec<(&RankedCaption, Vec<Proposal>)> =
        worked.iter().map(|work| (&work.ranked, work.proposals.clone())).collect();
    let kept = keep_best(judge, &settings.acceptance, &proposals)?;
    Ok(worked.into_iter().zip(kept).map(|(work, kept)| work.record(judge, settings, kept)).collect())
}

/// One answer on its way to a record.
struct ImportedQuery {
    ranked: RankedCaption,
    proposals: Vec<Proposal>,
    strategy: MiningStrategy,
    not_blurred: Option<DropReason>,
}

impl ImportedQuery {
    fn new(
        judge: &MiningFeedback<'_>,
        settings: &ImportConfig,
        caption: &PoolCaption,
        answer: &RewrittenQuery,
        judgement: Judgement,
        blurred: Judgement,
    ) -> Self {
        let rewrites = answer.rewrites.iter().map(|rewrite| Proposal {
            text: rewrite.text.clone(),
            kind: rewrite.kind.clone(),
            source: "record",
            turn: 0,
        });
        let ranked = RankedCaption { caption: caption.clone(), judgement };
        let high = judgement.rank <= settings.acceptance.k;
        let Some(text) = answer.blurred.as_ref().filter(|_| high) else {
            return Self {
                ranked,
                proposals: rewrites.collect(),
                strategy: MiningStrategy::Imported,
                not_blurred: None,
            };
        };
        let filters = &settings.acceptance.filters;
        let usable = TextFilter::new(filters, &caption.query, judge.pool.name(caption.picture)).check(text);
        let refused = match usable {
            Ok(()) if blurred_enough(judgement, blurred, settings.blur_margin) => None,
            Ok(()) => Some(DropReason::NotBlurred),
            Err(reason) => Some(reason),
        };
        if refused.is_some() {
            let proposals = rewrites.collect();
            return Self { ranked, proposals, strategy: MiningStrategy::Imported, not_blurred: refused };
        }
        let original =
            Proposal { text: caption.query.clone(), kind: "original".to_owned(), source: "caption", turn: 0 };
        Self {
            ranked: RankedCaption {
                caption: PoolCaption { query: text.clone(), ..caption.clone() },
                judgement: blurred,
            },
            proposals: std::iter::once(original).chain(rewrites).collect(),
            strategy: MiningStrategy::Blur,
            not_blurred: None,
        }
    }

    fn record(self, judge: &MiningFeedback<'_>, settings: &ImportConfig, mut kept: Kept) -> MinedQuery {
        if let Some(reason) = self.not_blurred {
            drop_one(&mut kept.dropped, reason);
        }
        let RankedCaption { caption, judgement } = self.ranked;
        MinedQuery {
            id: caption.id,
            image: judge.pool.name(caption.picture).to_owned(),
            query: caption.query,
            low_rank: judgement.rank,
            low_score: judgement.score,
            rewrites: kept.rewrites,
            strategy: self.strategy,
            prompt: settings.prompt.clone(),
            model: settings.model.clone(),
            pictures: None,
            replies: BTreeMap::new(),
            dropped: kept.dropped,
        }
    }
}
