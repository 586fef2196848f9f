//! Hugging Face's text-embeddings-inference: `/embed`, `/info`, `/health`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use relens::embed::TextEmbedder;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{OneOrMany, enhancer, shortened};
use crate::api::embed_texts;
use crate::api::extract::{JsonAnswer, JsonBody};
use crate::api::health;
use crate::engine::Services;
use crate::problem::HttpProblem;

pub(super) fn router() -> Router<Arc<Services>> {
    Router::new().route("/embed", post(embed)).route("/info", get(info)).route("/health", get(health))
}

/// A problem in the form that its clients read.
struct InferenceProblem(HttpProblem);

impl From<HttpProblem> for InferenceProblem {
    fn from(problem: HttpProblem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for InferenceProblem {
    fn into_response(self) -> Response {
        let status = self.0.status();
        let kind = match status.as_u16() {
            413 | 422 | 400 => "Validation",
            429 | 503 => "Overloaded",
            _ => "Backend",
        };
        let detail = serde_json::to_value(&self.0).unwrap_or_default();
        let body = json!({"error": detail["detail"], "error_type": kind});
        (status, JsonAnswer(body)).into_response()
    }
}

/// What its clients send; what is not named here (`truncate`, `prompt_name`) changes nothing: texts that are too long
/// lose their end.
#[derive(Debug, Deserialize)]
struct InputsRequest {
    inputs: OneOrMany,
    dimensions: Option<u64>,
    enhancer: Option<String>,
}

async fn embed(
    State(engine): State<Arc<Services>>,
    headers: HeaderMap,
    body: Result<JsonBody<InputsRequest>, HttpProblem>,
) -> Result<Response, InferenceProblem> {
    let JsonBody(request) = body?;
    let enhancer = request.enhancer.unwrap_or_else(|| enhancer(&headers, "identity"));
    let (inputs, dimensions) = (request.inputs.into_texts(), request.dimensions);
    let work = move |engine: &Services| {
        if inputs.is_empty() {
            return Err(HttpProblem::field("inputs", "at least one text", "none"));
        }
        let vectors = embed_texts(engine, engine.models.first(), &inputs, Some(&enhancer))?;
        let vectors = shortened(vectors, dimensions)?;
        Ok(vectors.iter().map(<[f32]>::to_vec).collect::<Vec<_>>())
    };
    Ok(JsonAnswer(engine.run(work).await?).into_response())
}

async fn info(State(engine): State<Arc<Services>>) -> Result<JsonAnswer<Value>, HttpProblem> {
    let model = engine.models.first().clone();
    let limits = engine.config.limits.clone();
    // The tokenizer is read at its first use.
    let work = move |_: &Services| {
        let longest = model.retriever.tokenizer()?.context_length();
        Ok(json!({
            "model_id": model.texts.name(),
            "model_sha": model.texts.fingerprint(),
            "model_dtype": "float32",
            "model_type": {"embedding": {"pooling": "cls"}},
            "max_concurrent_requests": limits.working + limits.waiting,
            "max_input_length": longest,
            "max_client_batch_size": limits.texts_per_request,
            "auto_truncate": true,
            "version": env!("CARGO_PKG_VERSION"),
        }))
    };
    engine.run(work).await.map(JsonAnswer)
}
