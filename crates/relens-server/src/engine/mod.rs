//! What all requests share: models, the library, thumbnails, and the queue of work.

mod batching;
mod knowledge_files;
mod models;
mod open_library;
mod remote_images;
mod thumbnails;
mod upstream;
mod workers;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use relens::embed::retriever::Retriever;
use relens::judgements::{HitJudgements, JUDGEMENTS_FILE};
use tokio::sync::Semaphore;

pub(crate) use batching::BatchingEmbedder;
pub(crate) use knowledge_files::KnowledgeFiles;
pub(crate) use models::{Models, OpenModel};
pub(crate) use open_library::OpenLibrary;
pub(crate) use remote_images::RemoteImages;
pub(crate) use thumbnails::{THUMBNAIL_SIZES, Thumbnails};
pub(crate) use upstream::Upstream;
pub(crate) use workers::Workers;

use crate::config::ServerConfig;
use crate::error::ServerError;
use crate::metrics::Metrics;
use crate::problem::HttpProblem;

/// Archives that are sent at once.
const DOWNLOADS: usize = 4;

/// What the server was told, and what its requests share.
pub(crate) struct Services {
    pub(crate) config: ServerConfig,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) models: Models,
    pub(crate) library: OpenLibrary,
    pub(crate) knowledge: KnowledgeFiles,
    pub(crate) judgements: HitJudgements,
    pub(crate) thumbnails: Thumbnails,
    pub(crate) upstream: Option<Upstream>,
    /// Fetches pictures of the network, where that is allowed.
    pub(crate) remote_images: Option<RemoteImages>,
    workers: Workers,
    /// Archives that are being sent.
    pub(crate) downloads: Arc<Semaphore>,
    /// Whether the server is about to end.
    pub(crate) stopping: AtomicBool,
}

impl Services {
    /// Around `retriever`, which searches the library.
    ///
    /// # Errors
    /// The system gives no thread; [`ServerError::Setting`] for the upstream service.
    pub(crate) fn new(config: ServerConfig, retriever: Arc<Retriever>) -> Result<Self, ServerError> {
        let metrics = Arc::new(Metrics::default());
        Ok(Self {
            models: Models::new(&config, retriever, metrics.clone())?,
            library: OpenLibrary::new(config.library.clone(), metrics.clone()),
            knowledge: KnowledgeFiles::new(&config.home),
            judgements: HitJudgements::at(config.home.join(JUDGEMENTS_FILE)),
            thumbnails: Thumbnails::new(config.home.join("thumbnails")),
            upstream: config.upstream.as_deref().map(Upstream::new).transpose()?,
            remote_images: config.remote_images.then(|| RemoteImages::new(config.limits.body_bytes)),
            workers: Workers::new(&config.limits, metrics.clone()),
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
            stopping: AtomicBool::new(false),
            metrics,
            config,
        })
    }

    /// Does `work` with these services on a thread of its own, as soon as there is one.
    ///
    /// # Errors
    /// Those of [`Workers::run`].
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, HttpProblem> + Send + 'static,
    ) -> Result<T, HttpProblem> {
        let services = self.clone();
        self.workers.run(move || work(&services)).await
    }
}
