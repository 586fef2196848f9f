//! immich's machine-learning service: `/ping` and `/predict`, with a rewrite of the text before it is embedded.
//!
//! immich can carry one vector for a query. Where a rewrite makes several texts it is that of their mean, so that what
//! lowers hubs and what merges rankings is lost, and the words are not.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use relens::embed::embeddings::Embeddings;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::enhancer;
use crate::api::embed_texts;
use crate::api::extract::{JsonAnswer, parse};
use crate::engine::Services;
use crate::problem::HttpProblem;

/// What the service says at `/` to a program.
pub(crate) const GREETING: &str = "Immich ML";
/// How long the other service may take.
const UPSTREAM_TIME: Duration = Duration::from_secs(25);

pub(super) fn router() -> Router<Arc<Services>> {
    Router::new().route("/ping", get(async || "pong")).route("/predict", post(predict))
}

/// Which models immich wants to have run, by task and then by kind.
#[derive(Debug, Deserialize)]
struct Entries {
    clip: Option<ClipEntry>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct ClipEntry {
    visual: Option<ModelEntry>,
    textual: Option<ModelEntry>,
}

#[derive(Debug, Deserialize)]
struct ModelEntry {
    #[serde(rename = "modelName")]
    model_name: String,
}

/// The parts of a request.
#[derive(Debug, Default)]
struct PredictForm {
    entries: Option<Bytes>,
    image: Option<Bytes>,
    text: Option<String>,
}

async fn predict(State(engine): State<Arc<Services>>, request: Request) -> Result<Response, HttpProblem> {
    let headers = request.headers().clone();
    let body = Bytes::from_request(request, &engine).await?;
    let form = read_form(&headers, body.clone(), &engine).await?;
    let unprocessable = |problem: HttpProblem| problem.with_status(StatusCode::UNPROCESSABLE_ENTITY);
    let entries = form.entries.as_deref().ok_or_else(|| HttpProblem::field("entries", "JSON", "none"));
    let entries: Entries = entries.and_then(parse).map_err(unprocessable)?;
    if form.image.is_none() && form.text.is_none() {
        return Err(HttpProblem::field("image", "an image, or a text", "neither"));
    }
    let mut answer = match entries.others.is_empty() {
        true => Map::new(),
        false => ask_upstream(&engine, &headers, body).await?,
    };
    if let Some(clip) = entries.clip {
        let enhancer = enhancer(&headers, "default");
        answer.extend(engine.run(move |engine| embed(engine, &clip, form, &enhancer)).await?);
    }
    Ok(JsonAnswer(Value::Object(answer)).into_response())
}

async fn read_form(
    headers: &HeaderMap,
    body: Bytes,
    engine: &Arc<Services>,
) -> Result<PredictForm, HttpProblem> {
    let broken = |error: String| HttpProblem::field("body", "a multipart form", error);
    let mut request = Request::new(Body::from(body));
    *request.headers_mut() = headers.clone();
    // The body was bounded when it was read; the usual bound of a form is far below a photo.
    DefaultBodyLimit::disable().apply(&mut request);
    let multipart = Multipart::from_request(request, engine).await;
    let mut multipart = multipart.map_err(|rejection| broken(rejection.body_text()))?;
    let mut form = PredictForm::default();
    while let Some(field) = multipart.next_field().await.map_err(|error| broken(error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let content = field.bytes().await.map_err(|error| broken(error.body_text()))?;
        match name.as_str() {
            "entries" => form.entries = Some(content),
            "image" => form.image = Some(content),
            "text" => {
                let text = String::from_utf8(content.to_vec());
                form.text = Some(text.map_err(|_| HttpProblem::field("text", "UTF-8", "other bytes"))?);
            }
            _ => {}
        }
    }
    Ok(form)
}

fn embed(
    engine: &Services,
    clip: &ClipEntry,
    form: PredictForm,
    enhancer: &str,
) -> Result<Map<String, Value>, HttpProblem> {
    let mut answer = Map::new();
    match (clip, form) {
        (ClipEntry { visual: Some(entry), textual: None }, PredictForm { image: Some(bytes), .. }) => {
            let model = engine.models.get(Some(&entry.model_name))?;
            let picture = model.decode(&bytes, "image")?;
            let (width, height) = picture.dimensions();
            answer.insert("clip".to_owned(), vector_text(&model.embed_images(&[picture])?)?);
            answer.insert("imageHeight".to_owned(), json!(height));
            answer.insert("imageWidth".to_owned(), json!(width));
        }
        (ClipEntry { visual: None, textual: Some(entry) }, PredictForm { text: Some(text), .. }) => {
            let model = engine.models.get(Some(&entry.model_name))?;
            let vector = embed_texts(engine, &model, &[text], Some(enhancer))?;
            answer.insert("clip".to_owned(), vector_text(&vector)?);
        }
        _ => {
            let expected = "visual with an image, or textual with a text";
            return Err(HttpProblem::field("entries.clip", expected, "something else"));
        }
    }
    Ok(answer)
}

/// immich takes a vector as the text of a JSON list, not as a list.
fn vector_text(vector: &Embeddings) -> Result<Value, HttpProblem> {
    let text = serde_json::to_string(vector.as_slice());
    text.map(Value::String).map_err(|error| HttpProblem::internal(error.to_string()))
}

/// Passes a request on to the service that does what relens does not.
async fn ask_upstream(
    engine: &Services,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Map<String, Value>, HttpProblem> {
    let Some(upstream) = &engine.upstream else {
        let reason =
            "relens embeds pictures and texts only; --upstream names a service that does the other tasks";
        return Err(HttpProblem::new(StatusCode::NOT_IMPLEMENTED, reason));
    };
    let failed =
        |error: String| HttpProblem::new(StatusCode::BAD_GATEWAY, format!("the upstream service: {error}"));
    let kind = headers.get(header::CONTENT_TYPE).cloned();
    let mut request = upstream.client.post(&upstream.predict).timeout(UPSTREAM_TIME).body(body);
    if let Some(kind) = kind {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    let response = request.send().await.map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    let bytes = response.bytes().await.map_err(|error| failed(error.to_string()))?;
    if !status.is_success() {
        return Err(failed(format!("status {}", status.as_u16())));
    }
    serde_json::from_slice(&bytes).map_err(|error| failed(format!("no JSON object: {error}")))
}
