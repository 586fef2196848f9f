//! Recorded answers of a language model, as candidates: `{"imgid", "query", "rewrites": [{"kind", "text"}], "blurred"}`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::candidates::{Candidate, CandidateQuery};
use super::corpus::RewritingCorpus;
use crate::{Result, TrainingError};

#[derive(Deserialize)]
struct Record {
    imgid: u64,
    query: String,
    rewrites: Vec<RecordedRewrite>,
    #[serde(default)]
    blurred: Option<String>,
}

#[derive(Deserialize)]
struct RecordedRewrite {
    #[serde(default)]
    kind: String,
    text: String,
}

/// The queries of records with their rewrites, and each blurred query with the query itself as its rewrite. Lines of
/// pictures outside the training split are passed over.
///
/// # Errors
/// [`TrainingError::Data`] with file and line.
pub fn read(paths: &[PathBuf], corpus: &RewritingCorpus) -> Result<Vec<CandidateQuery>> {
    let mut queries = Vec::new();
    for path in paths {
        let text = fs_err::read_to_string(path)?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let record = parse(path, number + 1, line)?;
            if let Some(picture) = corpus.training_by_id(record.imgid) {
                add(&mut queries, record, picture);
            }
        }
    }
    Ok(queries)
}

fn parse(path: &Path, number: usize, line: &str) -> Result<Record> {
    let broken = |reason: String| TrainingError::Data {
        path: path.to_owned(),
        reason: format!("line {number}: {reason}"),
    };
    let record: Record = serde_json::from_str(line).map_err(|error| broken(error.to_string()))?;
    let texts = record.rewrites.iter().map(|rewrite| &rewrite.text);
    if texts.chain([&record.query]).chain(&record.blurred).any(|text| text.trim().is_empty()) {
        return Err(broken("expected a text in every field, found an empty one".to_owned()));
    }
    Ok(record)
}

fn add(queries: &mut Vec<CandidateQuery>, record: Record, picture: usize) {
    let Record { query, rewrites, blurred, .. } = record;
    if let Some(blurred) = blurred {
        let original = Candidate::unscored(query.clone(), "blurred");
        queries.push(CandidateQuery { query: blurred, picture, candidates: vec![original] });
    }
    let candidates =
        rewrites.into_iter().map(|rewrite| Candidate::unscored(rewrite.text, &rewrite.kind)).collect();
    queries.push(CandidateQuery { query, picture, candidates });
}
