//! `POST /rewrite`: what would be searched for, and why.

use axum::extract::State;
use relens::enhancer::{EnhancedQuery, Query, TraceEntry};
use relens::ranking::{Pipeline, pipeline_config};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::extract::{JsonAnswer, JsonBody};
use super::search::is_change;
use crate::engine::Services;
use crate::problem::HttpProblem;

/// A text that is sent to the retriever, and how much it counts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SentText {
    /// The text.
    text: String,
    /// Its weight, relative to the others.
    weight: f32,
}

/// What became of a text.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct QueryRewrite {
    /// As it was typed.
    query: String,
    /// What rewrote it.
    enhancer: String,
    /// How the texts make one score.
    #[schemars(with = "String")]
    combine: relens::enhancer::Combination,
    /// The texts that are sent to the retriever.
    texts: Vec<SentText>,
    /// The language that the text seems to be in, if that is not English.
    language: Option<String>,
    /// Why, step by step: objects with `step` (`entity_found`, `text_added`, `read_word_by_word`, `not_read`, `replaced`,
    /// `reworded`, `excluded`, `kept`) and what belongs to it.
    #[schemars(with = "Vec<serde_json::Value>")]
    trace: Vec<TraceEntry>,
}

impl QueryRewrite {
    pub(super) fn new(query: &Query, enhanced: EnhancedQuery, pipeline: &Pipeline) -> Self {
        let language = enhanced.language().map(str::to_owned);
        let sent = enhanced.texts.into_iter().map(|text| SentText { text: text.text, weight: text.weight });
        Self {
            query: query.text().to_owned(),
            enhancer: pipeline.name(),
            combine: enhanced.combination,
            texts: sent.collect(),
            language,
            trace: enhanced.trace,
        }
    }

    pub(super) fn is_changed(&self) -> bool {
        self.trace.iter().any(is_change)
    }
}

/// What to rewrite.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RewriteRequest {
    /// What somebody typed.
    query: String,
    /// What rewrites it; `default` if nothing is said.
    enhancer: Option<String>,
    /// Words that are to stay as they are.
    #[serde(default)]
    keep: Vec<String>,
    /// The model for which it is rewritten; that of the library if nothing is said.
    model: Option<String>,
}

/// Shows what would be searched for, with the reason for every change.
pub(super) async fn rewrite(
    State(engine): Shared,
    JsonBody(request): JsonBody<RewriteRequest>,
) -> Result<JsonAnswer<QueryRewrite>, HttpProblem> {
    let work = move |engine: &Services| {
        let query = Query::new(&request.query)?.keeping(&request.keep);
        let model = engine.models.get(request.model.as_deref())?;
        let pipeline = model.pipeline(request.enhancer.as_deref().unwrap_or(pipeline_config::DEFAULT))?;
        let mut enhanced = pipeline.enhance(std::slice::from_ref(&query), None)?;
        let enhanced = enhanced.pop().ok_or_else(|| HttpProblem::internal("the enhancer gave no answer"))?;
        Ok(QueryRewrite::new(&query, enhanced, &pipeline))
    };
    engine.run(work).await.map(JsonAnswer)
}
