//! Queries with candidate rewrites, from every source that there is.

use std::path::{Path, PathBuf};

use relens::dataset::rewrites::{RewrittenQuery, for_each_record};
use serde::{Deserialize, Serialize};

use super::corpus::RewritingCorpus;
use super::hard_queries::{self, HardQueryConfig};
use crate::mining::record;
use crate::retriever_feedback::SIMILARITY_SCALE;
use crate::{Result, TrainingError};

/// A rewrite that might be good.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateRewrite {
    /// The text.
    pub text: String,
    /// What the retriever thinks of it; `None` until it was asked.
    pub reward: Option<f32>,
    /// What kind of rewrite it is.
    pub kind: String,
}

impl CandidateRewrite {
    /// A candidate that the retriever has not seen yet.
    pub fn unscored(text: String, kind: &str) -> Self {
        Self { text, reward: None, kind: kind.to_owned() }
    }
}

/// A query, the picture that it is for, and its candidates.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateQuery {
    /// The query.
    pub query: String,
    /// The picture's position in the training split.
    pub picture: usize,
    /// The candidates.
    pub candidates: Vec<CandidateRewrite>,
}

/// What mined rewrites are ranked by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardSource {
    /// The scores that mining wrote down, of the retriever that it mined with.
    #[default]
    Mined,
    /// This run's retriever and reward, which every candidate is shown to anew.
    Retriever,
}

/// Where candidates come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CandidateConfig {
    /// Files of mined queries.
    pub mined: Vec<PathBuf>,
    /// What mined rewrites are ranked by. Default `mined`.
    pub mined_rewards: RewardSource,
    /// Files of recorded answers of a language model.
    pub records: Vec<PathBuf>,
    /// Captions made hard by a lexicon, whose one candidate is the caption. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_queries: Option<HardQueryConfig>,
    /// Use these kinds of candidates only. Default: all.
    pub kinds: Vec<String>,
    /// How many captions of each training picture become queries whose candidates are the picture's other captions.
    /// Default 0.
    pub sibling_captions: usize,
    /// Least sentence similarity of a mined rewrite to its query. Default −1: all of them.
    pub min_similarity: Option<f32>,
}

/// The kind of a candidate that is another caption of the same picture.
pub const SIBLING: &str = "sibling";

/// Reads all sources; queries without candidates are left out.
///
/// # Errors
/// A broken line, with its file and number; no query at all.
pub fn read(config: &CandidateConfig, corpus: &RewritingCorpus) -> Result<Vec<CandidateQuery>> {
    let mut queries = Vec::new();
    for path in &config.mined {
        read_mined(path, config, corpus, &mut queries)?;
    }
    queries.extend(read_records(&config.records, corpus)?);
    if let Some(hard) = &config.hard_queries {
        queries.extend(hard_queries::read(hard, corpus)?);
    }
    queries.extend(siblings(corpus, config.sibling_captions));
    for query in &mut queries {
        let own = query.query.trim().to_lowercase();
        query.candidates.retain(|candidate| {
            (config.kinds.is_empty() || config.kinds.contains(&candidate.kind))
                && candidate.text.trim().to_lowercase() != own
        });
    }
    queries.retain(|query| !query.candidates.is_empty());
    if queries.is_empty() {
        return Err(TrainingError::setting(
            "candidates",
            "sources with at least one candidate for a training picture",
            &"none",
        ));
    }
    Ok(queries)
}

fn read_mined(
    path: &Path,
    config: &CandidateConfig,
    corpus: &RewritingCorpus,
    queries: &mut Vec<CandidateQuery>,
) -> Result<()> {
    let floor = config.min_similarity.unwrap_or(-1.0);
    record::for_each(path, |mined| {
        let Some(picture) = corpus.training_by_name(&mined.image) else { return Ok(()) };
        let candidates = mined
            .rewrites
            .into_iter()
            .filter(|rewrite| rewrite.similarity_to_query >= floor)
            .map(|rewrite| CandidateRewrite {
                text: rewrite.text,
                // The paper's similarity reward; a query's score is the same for all of its rewrites.
                reward: (config.mined_rewards == RewardSource::Mined)
                    .then_some(SIMILARITY_SCALE * (rewrite.score - mined.low_score)),
                kind: rewrite.kind,
            })
            .collect();
        queries.push(CandidateQuery { query: mined.query, picture, candidates });
        Ok(())
    })
}

/// Captions of one picture say the same in different words, and the retriever likes some of them better.
fn siblings(corpus: &RewritingCorpus, captions: usize) -> impl Iterator<Item = CandidateQuery> + '_ {
    corpus.training.iter().enumerate().flat_map(move |(index, picture)| {
        (0..picture.captions.len().min(captions)).map(move |query| CandidateQuery {
            query: picture.captions[query].clone(),
            picture: index,
            candidates: picture
                .captions
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != query)
                .map(|(_, caption)| CandidateRewrite::unscored(caption.clone(), SIBLING))
                .collect(),
        })
    })
}

/// The queries of records with their rewrites, and each blurred query with the query itself as its rewrite. Records of
/// images outside the training split are passed over.
///
/// # Errors
/// A record without `imgid` or with a blank text, by file and line; a file that cannot be read.
pub fn read_records(paths: &[PathBuf], corpus: &RewritingCorpus) -> Result<Vec<CandidateQuery>> {
    let mut queries = Vec::new();
    for path in paths {
        for_each_record(path, |place, record| {
            place.refuse_blank_texts(&record)?;
            let id = record.imgid.ok_or_else(|| place.error("`imgid`, the image's number", "none"))?;
            if let Some(picture) = corpus.training_by_id(id) {
                add(&mut queries, record, picture);
            }
            Ok(())
        })?;
    }
    Ok(queries)
}

fn add(queries: &mut Vec<CandidateQuery>, record: RewrittenQuery, picture: usize) {
    let RewrittenQuery { query, rewrites, blurred, .. } = record;
    if let Some(blurred) = blurred {
        let original = CandidateRewrite::unscored(query.clone(), "blurred");
        queries.push(CandidateQuery { query: blurred, picture, candidates: vec![original] });
    }
    let candidates =
        rewrites.into_iter().map(|rewrite| CandidateRewrite::unscored(rewrite.text, &rewrite.kind)).collect();
    queries.push(CandidateQuery { query, picture, candidates });
}
