//! Hits that people marked right or wrong: used at once, and kept to learn from.

use std::collections::HashMap;
use std::path::Path;

use axum::extract::State;
use relens::enhancer::Query;
use relens::judgements::HitJudgement;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::extract::{JsonAnswer, JsonBody, QueryPart};
use super::{Shared, ensure_writable};
use crate::engine::Services;
use crate::problem::HttpProblem;

/// What somebody says of a hit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JudgementRequest {
    /// What was searched for, as it was typed.
    query: String,
    /// The picture's number.
    id: u64,
    /// Whether it shows that; `null` takes back what was said before.
    right: Option<bool>,
}

/// A picture that was judged.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct JudgedHit {
    /// Its number.
    id: u64,
    /// Whether it shows what was searched for.
    right: bool,
}

/// The query whose judgements are asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JudgementsQuery {
    /// What was searched for, as it was typed.
    query: String,
}

/// Says that a hit is right or wrong for a query.
pub(super) async fn judge(
    State(engine): Shared,
    JsonBody(request): JsonBody<JudgementRequest>,
) -> Result<JsonAnswer<Vec<JudgedHit>>, HttpProblem> {
    ensure_writable(&engine)?;
    let work = move |engine: &Services| {
        let query = Query::new(&request.query)?;
        let image = engine.library.image(request.id)?;
        let image = image
            .ok_or_else(|| HttpProblem::not_found(format!("the library has no picture {}", request.id)))?;
        let judgement = HitJudgement::now(query.text(), &image.path, request.right);
        engine.judgements.add(&judgement)?;
        judged(engine, query.text())
    };
    engine.run(work).await.map(JsonAnswer)
}

/// What was said of a query's hits.
pub(super) async fn list(
    State(engine): Shared,
    QueryPart(query): QueryPart<JudgementsQuery>,
) -> Result<JsonAnswer<Vec<JudgedHit>>, HttpProblem> {
    engine.run(move |engine| judged(engine, query.query.trim())).await.map(JsonAnswer)
}

/// The numbers of the pictures that were judged right and wrong for a query.
pub(super) fn judged_ids(engine: &Services, query: &str) -> Result<(Vec<u64>, Vec<u64>), HttpProblem> {
    let (right, wrong): (Vec<JudgedHit>, Vec<JudgedHit>) =
        judged(engine, query.trim())?.into_iter().partition(|judged| judged.right);
    let ids = |judged: Vec<JudgedHit>| judged.into_iter().map(|judged| judged.id).collect();
    Ok((ids(right), ids(wrong)))
}

/// What was said of the pictures that the library still has.
fn judged(engine: &Services, query: &str) -> Result<Vec<JudgedHit>, HttpProblem> {
    let said: HashMap<String, bool> = engine.judgements.of(query)?;
    let mut judged = engine.library.read(|library, _| {
        let mut judged = Vec::with_capacity(said.len());
        for (path, right) in said {
            if let Some(image) = library.catalog().image_at(Path::new(&path))? {
                judged.push(JudgedHit { id: image.id, right });
            }
        }
        Ok(judged)
    })?;
    judged.sort_by_key(|judged| judged.id);
    Ok(judged)
}
