//! A model's recorded answers as mined data: JSON Lines of
//! `{"imgid", "sentid", "query", "rewrites": [{"kind", "text"}], "blurred"?}`, scored by the retriever.
//!
//! A query of low quality keeps its rewrites. A query of high quality becomes the rewrite of its blurred form, if that
//! has really lost similarity.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use relens::error::Error;
use serde::Deserialize;

use super::acceptance::{AcceptanceSettings, Kept, Proposal, drop_one, keep_best};
use super::blur::blurred_enough;
use super::filters::{DropReason, TextFilter, comparable};
use super::judge::{Judge, Judgement};
use super::low_quality::RankedUnit;
use super::pool::{Pool, Unit};
use super::record::{MinedQuery, Strategy};
use crate::Result;

/// One recorded answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedAnswer {
    /// The data set's number of the picture.
    pub imgid: u64,
    /// The data set's number of the caption.
    #[serde(default)]
    pub sentid: Option<u64>,
    /// The caption.
    pub query: String,
    /// The rewrites.
    pub rewrites: Vec<RecordedRewrite>,
    /// A vaguer query.
    #[serde(default)]
    pub blurred: Option<String>,
}

/// A rewrite of a recorded answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRewrite {
    /// What kind of rewrite it is.
    pub kind: String,
    /// The text.
    pub text: String,
}

/// Reads files of recorded answers and finds the pool's captions that they are about, in the files' order.
///
/// # Errors
/// [`Error::Dataset`] naming file, line and field, also for a caption that the pool does not have: another split's
/// queries must not be mined.
pub fn read(paths: &[&Path], pool: &Pool) -> Result<Vec<(Unit, RecordedAnswer)>> {
    let mut units: HashMap<(u64, String), Unit> = HashMap::new();
    for unit in pool.units() {
        if let Some(picture) = pool.pictures().get(unit.picture) {
            units.entry((picture.id, comparable(&unit.query))).or_insert(unit);
        }
    }
    let mut answers: Vec<(Unit, RecordedAnswer)> = Vec::new();
    for &path in paths {
        let text = fs_err::read_to_string(path)?;
        for (position, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let broken = |field: &str, expected: &str, found: String| Error::Dataset {
                path: path.to_owned(),
                location: format!("line {}{field}", position + 1),
                expected: expected.to_owned(),
                found,
            };
            let mut deserializer = serde_json::Deserializer::from_str(line);
            let answer: RecordedAnswer =
                serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
                    let field = format!(", field `{}`", error.path());
                    broken(&field, "a recorded answer as a JSON object", error.inner().to_string())
                })?;
            let key = (answer.imgid, comparable(&answer.query));
            let unit = units.get(&key).ok_or_else(|| {
                broken(
                    "",
                    "a caption of the pool's pictures",
                    format!("picture {}, `{}`", key.0, answer.query),
                )
            })?;
            answers.push((unit.clone(), answer));
        }
    }
    let mut seen = std::collections::HashSet::new();
    answers.retain(|(unit, _)| seen.insert(unit.id.clone()));
    Ok(answers)
}

/// How recorded answers are turned into records.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportSettings {
    /// What is kept.
    pub acceptance: AcceptanceSettings,
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
    judge: &Judge<'_>,
    settings: &ImportSettings,
    answers: &[(Unit, RecordedAnswer)],
) -> Result<Vec<MinedQuery>> {
    let queries: Vec<(&str, usize)> =
        answers.iter().map(|(unit, _)| (unit.query.as_str(), unit.picture)).collect();
    let blurred: Vec<(&str, usize)> = answers
        .iter()
        .map(|(unit, answer)| (answer.blurred.as_deref().unwrap_or(&unit.query), unit.picture))
        .collect();
    let (judged, blurred) = (judge.judge(&queries)?, judge.judge(&blurred)?);
    let mut worked: Vec<Work> = Vec::with_capacity(answers.len());
    for (((unit, answer), judgement), blurred) in answers.iter().zip(judged).zip(blurred) {
        worked.push(Work::new(judge, settings, unit, answer, judgement, blurred));
    }
    let proposals: Vec<(&RankedUnit, Vec<Proposal>)> =
        worked.iter().map(|work| (&work.ranked, work.proposals.clone())).collect();
    let kept = keep_best(judge, &settings.acceptance, &proposals)?;
    Ok(worked.into_iter().zip(kept).map(|(work, kept)| work.record(judge, settings, kept)).collect())
}

/// One answer on its way to a record.
struct Work {
    ranked: RankedUnit,
    proposals: Vec<Proposal>,
    strategy: Strategy,
    not_blurred: Option<DropReason>,
}

impl Work {
    fn new(
        judge: &Judge<'_>,
        settings: &ImportSettings,
        unit: &Unit,
        answer: &RecordedAnswer,
        judgement: Judgement,
        blurred: Judgement,
    ) -> Self {
        let rewrites = answer.rewrites.iter().map(|rewrite| Proposal {
            text: rewrite.text.clone(),
            kind: rewrite.kind.clone(),
            source: "record",
            turn: 0,
        });
        let ranked = RankedUnit { unit: unit.clone(), judgement };
        let high = judgement.rank <= settings.acceptance.k;
        let Some(text) = answer.blurred.as_ref().filter(|_| high) else {
            return Self {
                ranked,
                proposals: rewrites.collect(),
                strategy: Strategy::Imported,
                not_blurred: None,
            };
        };
        let filters = &settings.acceptance.filters;
        let usable = TextFilter::new(filters, &unit.query, judge.pool.name(unit.picture)).check(text);
        let refused = match usable {
            Ok(()) if blurred_enough(judgement, blurred, settings.blur_margin) => None,
            Ok(()) => Some(DropReason::NotBlurred),
            Err(reason) => Some(reason),
        };
        if refused.is_some() {
            let proposals = rewrites.collect();
            return Self { ranked, proposals, strategy: Strategy::Imported, not_blurred: refused };
        }
        let original =
            Proposal { text: unit.query.clone(), kind: "original".to_owned(), source: "caption", turn: 0 };
        Self {
            ranked: RankedUnit { unit: Unit { query: text.clone(), ..unit.clone() }, judgement: blurred },
            proposals: std::iter::once(original).chain(rewrites).collect(),
            strategy: Strategy::Blur,
            not_blurred: None,
        }
    }

    fn record(self, judge: &Judge<'_>, settings: &ImportSettings, mut kept: Kept) -> MinedQuery {
        if let Some(reason) = self.not_blurred {
            drop_one(&mut kept.dropped, reason);
        }
        let RankedUnit { unit, judgement } = self.ranked;
        MinedQuery {
            id: unit.id,
            image: judge.pool.name(unit.picture).to_owned(),
            query: unit.query,
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
