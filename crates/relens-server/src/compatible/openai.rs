//! OpenAI's embeddings: `/v1/embeddings` and `/v1/models`, with pictures as infinity and vLLM take them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::ranking::relevance_feedback::combine_terms;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{OneOrMany, enhancer, shortened};
use crate::api::extract::{JsonAnswer, JsonBody};
use crate::api::{embed_pictures, embed_texts};
use crate::engine::{OpenModel, Services};
use crate::problem::HttpProblem;

pub(super) fn router() -> Router<Arc<Services>> {
    Router::new()
        .route("/v1/embeddings", post(embeddings))
        .route("/embeddings", post(embeddings))
        .route("/v1/models", get(models))
        .route("/models", get(models))
}

/// A problem in OpenAI's form.
struct OpenAiProblem(HttpProblem);

impl From<HttpProblem> for OpenAiProblem {
    fn from(problem: HttpProblem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for OpenAiProblem {
    fn into_response(self) -> Response {
        let status = self.0.status();
        let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
        let detail = serde_json::to_value(&self.0).unwrap_or_default();
        let error = json!({
            "message": detail["detail"], "type": kind, "param": detail.get("field"), "code": Value::Null,
        });
        let headers = self.0.into_response().headers().clone();
        let mut response = (status, JsonAnswer(json!({ "error": error }))).into_response();
        if let Some(after) = headers.get("retry-after") {
            response.headers_mut().insert("retry-after", after.clone());
        }
        response
    }
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum VectorEncoding {
    #[default]
    Float,
    Base64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Modality {
    #[default]
    Text,
    Image,
}

#[derive(Debug, Deserialize)]
struct EmbeddingsRequest {
    model: Option<String>,
    input: Option<OneOrMany>,
    messages: Option<Vec<ChatInput>>,
    encoding_format: Option<VectorEncoding>,
    dimensions: Option<u64>,
    modality: Option<Modality>,
    enhancer: Option<String>,
}

/// A message as vLLM takes it: what is in it becomes one vector.
#[derive(Debug, Deserialize)]
struct ChatInput {
    content: ChatContent,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ChatContent {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart {
    Text { text: String },
    ImageUrl { image_url: ImageAddress },
}

#[derive(Debug, Deserialize)]
struct ImageAddress {
    url: String,
}

#[derive(Debug, Serialize)]
struct EmbeddingList {
    object: &'static str,
    data: Vec<EmbeddingEntry>,
    model: String,
    usage: Value,
}

#[derive(Debug, Serialize)]
struct EmbeddingEntry {
    object: &'static str,
    index: usize,
    embedding: EncodedVector,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum EncodedVector {
    Float(Vec<f32>),
    /// Little-endian bytes in base64.
    Base64(String),
}

async fn embeddings(
    State(engine): State<Arc<Services>>,
    headers: HeaderMap,
    body: Result<JsonBody<EmbeddingsRequest>, HttpProblem>,
) -> Result<Response, OpenAiProblem> {
    let JsonBody(mut request) = body?;
    let enhancer = request.enhancer.take().unwrap_or_else(|| enhancer(&headers, "identity"));
    let answer = engine.run(move |engine| request.answer(engine, &enhancer)).await?;
    Ok(JsonAnswer(answer).into_response())
}

impl EmbeddingsRequest {
    fn answer(mut self, engine: &Services, enhancer: &str) -> Result<EmbeddingList, HttpProblem> {
        let model = engine.models.get(self.model.as_deref())?;
        let (vectors, tokens) = match (self.input.take(), self.messages.take()) {
            (Some(input), None) => {
                let input = input.into_texts();
                if input.is_empty() {
                    return Err(HttpProblem::field("input", "at least one text", "none"));
                }
                match self.modality.unwrap_or_default() {
                    Modality::Text => {
                        let tokens = token_count(&model, &input)?;
                        (embed_texts(engine, &model, &input, Some(enhancer))?, tokens)
                    }
                    Modality::Image => (embed_pictures(engine, &model, &input)?, 0),
                }
            }
            (None, Some(messages)) => (embed_messages(engine, &model, messages, enhancer)?, 0),
            _ => return Err(HttpProblem::field("input", "input, or messages", "none or both")),
        };
        let vectors = shortened(vectors, self.dimensions)?;
        let encoding = self.encoding_format.unwrap_or_default();
        let entries = vectors.iter().enumerate().map(|(index, row)| EmbeddingEntry {
            object: "embedding",
            index,
            embedding: encoded(row, encoding),
        });
        Ok(EmbeddingList {
            object: "list",
            data: entries.collect(),
            model: model.texts.name().to_owned(),
            usage: json!({ "prompt_tokens": tokens, "total_tokens": tokens }),
        })
    }
}

fn encoded(row: &[f32], encoding: VectorEncoding) -> EncodedVector {
    match encoding {
        VectorEncoding::Float => EncodedVector::Float(row.to_vec()),
        VectorEncoding::Base64 => {
            let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
            EncodedVector::Base64(BASE64.encode(bytes))
        }
    }
}

fn token_count(model: &OpenModel, texts: &[String]) -> Result<usize, HttpProblem> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let tokens = model.retriever.tokenizer()?.encode_batch(&texts).map_err(relens::error::Error::from)?;
    Ok(tokens.ids.len())
}

/// One vector of all that is in the messages.
fn embed_messages(
    engine: &Services,
    model: &OpenModel,
    messages: Vec<ChatInput>,
    enhancer: &str,
) -> Result<Embeddings, HttpProblem> {
    let (mut texts, mut pictures) = (Vec::new(), Vec::new());
    for message in messages {
        match message.content {
            ChatContent::Text(text) => texts.push(text),
            ChatContent::Parts(parts) => {
                for part in parts {
                    match part {
                        ContentPart::Text { text } => texts.push(text),
                        ContentPart::ImageUrl { image_url } => pictures.push(image_url.url),
                    }
                }
            }
        }
    }
    // Clients put an empty text beside a picture.
    texts.retain(|text| !text.trim().is_empty());
    let mut vectors = Embeddings::new(model.retriever.dim());
    if !texts.is_empty() {
        vectors.append(&embed_texts(engine, model, &texts, Some(enhancer))?)?;
    }
    vectors.append(&embed_pictures(engine, model, &pictures)?)?;
    if vectors.is_empty() {
        return Err(HttpProblem::field("messages", "a text or a picture", "neither"));
    }
    let terms: Vec<(f32, &[f32])> = vectors.iter().map(|row| (1.0, row)).collect();
    Ok(combine_terms(&terms, vectors.dim())?)
}

async fn models(State(engine): State<Arc<Services>>) -> Result<Response, StatusCode> {
    let entry = |name: &str| json!({"id": name, "object": "model", "created": 0, "owned_by": "relens"});
    let data: Vec<Value> = engine.models.names().into_iter().map(entry).collect();
    Ok(JsonAnswer(json!({"object": "list", "data": data})).into_response())
}
