//! clip-retrieval's service: `/knn-service`, `/metadata`, `/indices-list`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::routing::{get, post};
use relens::embed::TextEmbedder;
use relens::index::{Hit, Index};
use relens::library::catalog::CatalogImage;
use relens::ranking::CombinedQueries;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::enhancer;
use crate::api::extract::{JsonAnswer, JsonBody};
use crate::api::{SearchTerm, TermContext};
use crate::engine::Services;
use crate::problem::HttpProblem;

/// The only index that there is.
const INDEX: &str = "relens";
/// Ids whose metadata can be asked for at once.
const MOST_IDS: usize = 1000;

pub(super) fn router() -> Router<Arc<Services>> {
    Router::new()
        .route("/knn-service", post(knn_service))
        .route("/metadata", post(metadata))
        .route("/indices-list", get(indices_list))
}

async fn indices_list() -> JsonAnswer<[&'static str; 1]> {
    JsonAnswer([INDEX])
}

/// What its clients send. Filters that need models relens does not have (`use_safety_model`, `aesthetic_score`) change
/// nothing.
#[derive(Debug, Deserialize)]
struct KnnRequest {
    text: Option<String>,
    image: Option<String>,
    image_url: Option<String>,
    embedding_input: Option<Vec<f32>>,
    #[serde(default = "usual_number")]
    num_images: u64,
    num_result_ids: Option<u64>,
}

fn usual_number() -> u64 {
    100
}

async fn knn_service(
    State(engine): State<Arc<Services>>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<KnnRequest>,
) -> Result<JsonAnswer<Vec<Value>>, HttpProblem> {
    let enhancer = enhancer(&headers, "default");
    let host =
        headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost").to_owned();
    engine.run(move |engine| request.answer(engine, &enhancer, &host)).await.map(JsonAnswer)
}

impl KnnRequest {
    fn answer(self, engine: &Services, enhancer: &str, host: &str) -> Result<Vec<Value>, HttpProblem> {
        let most = engine.config.limits.hits as u64;
        let ids = self.num_result_ids.unwrap_or(self.num_images).max(self.num_images);
        let k = usize::try_from(ids.min(most)).unwrap_or(0).max(1);
        let described = usize::try_from(self.num_images).unwrap_or(usize::MAX);
        let term = self.term()?;
        let model = engine.models.first();
        let index = engine.library.index()?;
        index.ensure_model(model.texts.fingerprint())?;
        let pipeline = model.pipeline(enhancer)?;
        let remote = engine.remote_images.as_ref();
        let terms = TermContext { model, pipeline: &pipeline, index: &index, remote, keep: &[] };
        let hits = match term.only_text() {
            Some(text) => {
                let query = relens::enhancer::Query::new(text)?;
                pipeline.search(&query, k, &*model.texts, &*index)?.hits
            }
            None => {
                let vector =
                    terms.embed(&[term])?.vector.ok_or_else(|| HttpProblem::internal("no vector"))?;
                CombinedQueries::single(vector).search(&*index, k)?.pop().unwrap_or_default()
            }
        };
        hits.iter().enumerate().map(|(rank, hit)| entry(engine, hit, rank < described, host)).collect()
    }

    fn term(self) -> Result<SearchTerm, HttpProblem> {
        match (self.text, self.image, self.image_url, self.embedding_input) {
            (Some(text), None, None, None) => Ok(SearchTerm::text(text)),
            (None, Some(image), None, None) => Ok(SearchTerm::image(image)),
            // One of the network is refused where it is read, unless --allow-remote-images lets it be fetched.
            (None, None, Some(address), None) => Ok(SearchTerm::image(address)),
            (None, None, None, Some(vector)) => Ok(SearchTerm::vector(vector)),
            _ => {
                let expected = "exactly one of text, image, image_url and embedding_input";
                Err(HttpProblem::field("text", expected, "none or several"))
            }
        }
    }
}

fn entry(engine: &Services, hit: &Hit, described: bool, host: &str) -> Result<Value, HttpProblem> {
    let mut entry = match engine.library.image(hit.id)? {
        Some(image) if described => described_picture(engine, &image, host)?,
        _ => Map::new(),
    };
    entry.insert("id".to_owned(), json!(hit.id));
    entry.insert("similarity".to_owned(), json!(hit.score));
    Ok(Value::Object(entry))
}

fn described_picture(
    engine: &Services,
    image: &CatalogImage,
    host: &str,
) -> Result<Map<String, Value>, HttpProblem> {
    let captions = engine.library.read(|library, _| library.catalog().captions(image.id))?;
    let mut entry = Map::new();
    entry.insert("image_path".to_owned(), json!(image.path.to_string_lossy()));
    entry.insert("url".to_owned(), json!(format!("http://{host}/api/v1/images/{}/original", image.id)));
    if let Some(caption) = captions.into_iter().next() {
        entry.insert("caption".to_owned(), json!(caption));
    }
    Ok(entry)
}

#[derive(Debug, Deserialize)]
struct MetadataRequest {
    ids: Vec<u64>,
}

async fn metadata(
    State(engine): State<Arc<Services>>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<MetadataRequest>,
) -> Result<JsonAnswer<Vec<Value>>, HttpProblem> {
    if request.ids.len() > MOST_IDS {
        return Err(HttpProblem::field("ids", format!("at most {MOST_IDS}"), request.ids.len().to_string()));
    }
    let host =
        headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost").to_owned();
    let work = move |engine: &Services| {
        let mut found = Vec::with_capacity(request.ids.len());
        for id in request.ids {
            if let Some(image) = engine.library.image(id)? {
                let metadata = described_picture(engine, &image, &host)?;
                found.push(json!({"id": id, "metadata": metadata}));
            }
        }
        Ok(found)
    };
    engine.run(work).await.map(JsonAnswer)
}
