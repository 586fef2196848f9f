//! `GET /health`, `GET /ready` and `GET /metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use relens::embed::TextEmbedder;
use relens::index::Index;
use schemars::JsonSchema;
use serde::Serialize;

use super::Shared;
use super::extract::JsonAnswer;
use crate::engine::Services;
use crate::problem::HttpProblem;

/// How long the model may take for one text before the server counts as stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes every check a text that was never embedded before, so that the model has to run.
static CHECKS: AtomicU64 = AtomicU64::new(0);

/// A server that works.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Health {
    /// Always `ok`; a server that does not work answers 503.
    status: &'static str,
    /// The version of relens.
    version: &'static str,
    /// How long the model took for one text, in milliseconds.
    inference_ms: f64,
}

/// Whether the server works: the model embeds a text, behind those that wait already.
pub(crate) async fn health(State(engine): Shared) -> Result<JsonAnswer<Health>, HttpProblem> {
    let stuck = |reason: &str| HttpProblem::new(StatusCode::SERVICE_UNAVAILABLE, reason);
    let begun = Instant::now();
    let check = CHECKS.fetch_add(1, Ordering::Relaxed);
    // Not in the queue of work: a server with much to do is healthy.
    let inference = tokio::task::spawn_blocking(move || {
        let text = format!("health check {check}");
        engine.models.first().texts.embed_texts(&[&text])
    });
    let embedded = tokio::time::timeout(PATIENCE, inference).await;
    let vector = embedded.map_err(|_| stuck("the model does not answer"))?;
    let vector = vector.map_err(|_| stuck("the model fails"))?.map_err(|error| stuck(&error.to_string()))?;
    vector.ensure_normalised("the check's vector").map_err(|error| stuck(&error.to_string()))?;
    let inference_ms = begun.elapsed().as_secs_f64() * 1000.0;
    Ok(JsonAnswer(Health { status: "ok", version: env!("CARGO_PKG_VERSION"), inference_ms }))
}

/// A server that can answer searches.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Readiness {
    /// Always `ready`; a server without a library that it can search answers 404, 409 or 5xx with the reason.
    status: &'static str,
    /// Pictures that can be found.
    pictures: usize,
}

/// Whether the library can be searched. A program that sends requests asks here before it sends the first.
pub(crate) async fn ready(State(engine): Shared) -> Result<JsonAnswer<Readiness>, HttpProblem> {
    let work = move |engine: &Services| {
        let index = engine.library.index()?;
        index.ensure_model(engine.models.first().texts.fingerprint())?;
        Ok(Readiness { status: "ready", pictures: index.len() })
    };
    engine.run(work).await.map(JsonAnswer)
}

/// Counters in Prometheus's text format.
pub(crate) async fn metrics(State(engine): Shared) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], engine.metrics.to_text()).into_response()
}
