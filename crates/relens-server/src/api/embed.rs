//! `POST /embed`: vectors of texts or pictures.

use axum::extract::State;
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::enhancer::Query;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::extract::{JsonAnswer, JsonBody, picture_bytes};
use crate::engine::{OpenModel, Services};
use crate::problem::HttpProblem;

/// What to embed: `texts` or `images`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EmbedRequest {
    /// Texts.
    texts: Vec<String>,
    /// Pictures in base64, bare or as `data:` addresses.
    images: Vec<String>,
    /// The model; that of the library if nothing is said.
    model: Option<String>,
    /// What rewrites the texts before; `identity` (nothing does) if nothing is said.
    enhancer: Option<String>,
}

/// Vectors of length 1, in the order of the request.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EmbedAnswer {
    /// The model that made them.
    model: String,
    /// The fingerprint of its weights: only vectors of the same one can be compared.
    fingerprint: String,
    /// Components of each.
    dim: usize,
    /// The vectors.
    embeddings: Vec<Vec<f32>>,
}

/// Embeds texts or pictures into the space of a model.
pub(super) async fn embed(
    State(engine): Shared,
    JsonBody(request): JsonBody<EmbedRequest>,
) -> Result<JsonAnswer<EmbedAnswer>, HttpProblem> {
    engine.run(move |engine| request.answer(engine)).await.map(JsonAnswer)
}

impl EmbedRequest {
    fn answer(&self, engine: &Services) -> Result<EmbedAnswer, HttpProblem> {
        let model = engine.models.get(self.model.as_deref())?;
        let vectors = match (self.texts.as_slice(), self.images.as_slice()) {
            ([], []) => return Err(HttpProblem::field("texts", "texts, or images", "none")),
            (texts, []) => embed_texts(engine, &model, texts, self.enhancer.as_deref())?,
            ([], images) => embed_pictures(engine, &model, images)?,
            _ => return Err(HttpProblem::field("images", "texts or images", "both")),
        };
        Ok(EmbedAnswer {
            model: model.texts.name().to_owned(),
            fingerprint: model.texts.fingerprint().to_owned(),
            dim: vectors.dim(),
            embeddings: vectors.iter().map(<[f32]>::to_vec).collect(),
        })
    }
}

/// The vectors of texts, rewritten before if `enhancer` says how: one each, the mean where a rewrite makes several.
pub(crate) fn embed_texts(
    engine: &Services,
    model: &OpenModel,
    texts: &[String],
    enhancer: Option<&str>,
) -> Result<Embeddings, HttpProblem> {
    let most = engine.config.limits.texts_per_request;
    if texts.len() > most {
        return Err(HttpProblem::field("texts", format!("at most {most}"), texts.len().to_string()));
    }
    match enhancer {
        None | Some("identity") => {
            // Any text has a vector, an empty one too; only its length is bounded.
            let fitting = |text: &String| text.len() <= relens::enhancer::LONGEST_QUERY;
            if let Some(position) = texts.iter().position(|text| !fitting(text)) {
                let expected = format!("at most {} bytes", relens::enhancer::LONGEST_QUERY);
                return Err(HttpProblem::field(&format!("texts[{position}]"), expected, "more"));
            }
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            Ok(model.texts.embed_texts(&texts)?)
        }
        Some(enhancer) => {
            let queries =
                texts.iter().map(|text| Query::new(text)).collect::<relens::error::Result<Vec<_>>>()?;
            let embedded = model.pipeline(enhancer)?.embed(&queries, &*model.texts, None)?;
            Ok(embedded.vectors.one_vector_each()?)
        }
    }
}

/// The vectors of pictures in base64.
pub(crate) fn embed_pictures(
    engine: &Services,
    model: &OpenModel,
    pictures: &[String],
) -> Result<Embeddings, HttpProblem> {
    let most = engine.config.limits.pictures_per_request;
    if pictures.len() > most {
        return Err(HttpProblem::field("images", format!("at most {most}"), pictures.len().to_string()));
    }
    let mut vectors = Embeddings::new(model.retriever.dim());
    // One decoded picture at a time: many large ones do not fit into memory.
    for (position, picture) in pictures.iter().enumerate() {
        let field = format!("images[{position}]");
        let decoded =
            model.decode(&picture_bytes(picture, &field, engine.remote_images.as_ref())?, &field)?;
        vectors.append(&model.embed_images(&[decoded])?)?;
    }
    Ok(vectors)
}
