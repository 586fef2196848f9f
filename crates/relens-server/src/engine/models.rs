//! Models by the names that clients give them, each opened at its first use, with the pipelines that were asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::enhancer::open::EnhancerContext;
use relens::error::Result;
use relens::model_hub::ModelHub;
use relens::progress::Silent;
use relens::ranking::Pipeline;
use relens::ranking::pipeline_config;
use relens_models::image_preprocessing::{DecodeLimits, RgbImage, decode_image_bytes};

use super::BatchingEmbedder;
use super::knowledge_files::{KnowledgeFiles, KnowledgeStamp};
use crate::config::ServerConfig;
use crate::metrics::Metrics;
use crate::problem::HttpProblem;

/// A model in use.
pub(crate) struct OpenModel {
    pub(crate) retriever: Arc<Retriever>,
    /// Its text side, shared by all clients.
    pub(crate) texts: Arc<BatchingEmbedder>,
    home: PathBuf,
    picture_pixels: u64,
    pipelines: Mutex<Pipelines>,
}

/// The pipelines that were opened since the knowledge base last changed.
#[derive(Default)]
struct Pipelines {
    stamp: KnowledgeStamp,
    by_name: BTreeMap<String, Arc<Pipeline>>,
}

impl OpenModel {
    fn new(retriever: Arc<Retriever>, config: &ServerConfig, metrics: Arc<Metrics>) -> Result<Self> {
        Ok(Self {
            texts: Arc::new(BatchingEmbedder::start(retriever.clone(), metrics)?),
            retriever,
            home: config.home.clone(),
            picture_pixels: config.limits.picture_pixels,
            pipelines: Mutex::default(),
        })
    }

    /// The pipeline of this name; with the knowledge as it is now.
    ///
    /// # Errors
    /// The name is none of [`pipeline_config::names`], or what it needs cannot be read.
    pub(crate) fn pipeline(&self, name: &str) -> Result<Arc<Pipeline>, HttpProblem> {
        // Names only: a client must not have files of this computer opened.
        if !pipeline_config::names().contains(&name) {
            let names = pipeline_config::names().join(", ");
            return Err(HttpProblem::field("enhancer", format!("one of {names}"), format!("`{name}`")));
        }
        let stamp = KnowledgeFiles::stamp(&self.home);
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if pipelines.stamp != stamp {
            *pipelines = Pipelines { stamp, by_name: BTreeMap::new() };
        }
        if let Some(pipeline) = pipelines.by_name.get(name) {
            return Ok(pipeline.clone());
        }
        let embedder: Arc<dyn TextEmbedder> = self.texts.clone();
        let context = EnhancerContext {
            home: Some(self.home.clone()),
            embedder: Some(embedder),
            ..EnhancerContext::default()
        };
        let pipeline = Arc::new(Pipeline::open(name, &context)?);
        pipelines.by_name.insert(name.to_owned(), pipeline.clone());
        Ok(pipeline)
    }

    /// Decodes a picture that a client sent; `field` says in errors which.
    ///
    /// # Errors
    /// It is no picture, or too large.
    pub(crate) fn decode(&self, bytes: &[u8], field: &str) -> Result<RgbImage, HttpProblem> {
        let limits = DecodeLimits { max_pixels: self.picture_pixels, ..DecodeLimits::default() };
        decode_image_bytes(bytes, field, &limits).map_err(|error| {
            HttpProblem::field(field, "a picture", error.to_string())
                .with_status(StatusCode::UNPROCESSABLE_ENTITY)
        })
    }

    /// Embeds decoded pictures, `[pictures, dim]`.
    ///
    /// # Errors
    /// The model's.
    pub(crate) fn embed_images(&self, images: &[RgbImage]) -> Result<Embeddings, HttpProblem> {
        Ok(self.retriever.embed_images(images)?)
    }
}

/// All models that clients may name.
pub(crate) struct Models {
    config: ServerConfig,
    metrics: Arc<Metrics>,
    first: Arc<OpenModel>,
    others: Mutex<BTreeMap<String, Arc<OpenModel>>>,
    hub: ModelHub,
}

impl Models {
    pub(crate) fn new(config: &ServerConfig, first: Arc<Retriever>, metrics: Arc<Metrics>) -> Result<Self> {
        Ok(Self {
            first: Arc::new(OpenModel::new(first, config, metrics.clone())?),
            others: Mutex::default(),
            hub: config.hub.clone(),
            config: config.clone(),
            metrics,
        })
    }

    /// The model that searches the library.
    pub(crate) fn first(&self) -> &Arc<OpenModel> {
        &self.first
    }

    /// All names that clients may use, aliases included.
    pub(crate) fn names(&self) -> Vec<&str> {
        let first = std::iter::once(self.first.retriever.name());
        let others = self.config.models.iter().map(String::as_str);
        first.chain(others).chain(self.config.aliases.keys().map(String::as_str)).collect()
    }

    /// The model of this name or alias; the first if none is named. Opening one may take seconds.
    ///
    /// # Errors
    /// 404 with the names that there are; those of opening it.
    pub(crate) fn get(&self, name: Option<&str>) -> Result<Arc<OpenModel>, HttpProblem> {
        let Some(asked) = name else { return Ok(self.first.clone()) };
        let name = self.config.aliases.get(asked).map_or(asked, String::as_str);
        if name == self.first.retriever.name() {
            return Ok(self.first.clone());
        }
        if !self.config.models.iter().any(|model| model == name) {
            let expected = format!("one of {}", self.names().join(", "));
            let problem = HttpProblem::field("model", expected, format!("`{asked}`"));
            return Err(problem.with_status(StatusCode::NOT_FOUND));
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = others.get(name) {
            return Ok(model.clone());
        }
        let retriever = Retriever::load_from(&self.hub, name, &mut Silent)?;
        let model = Arc::new(OpenModel::new(Arc::new(retriever), &self.config, self.metrics.clone())?);
        others.insert(name.to_owned(), model.clone());
        Ok(model)
    }
}
