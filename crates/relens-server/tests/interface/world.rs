//! A server with the gallery as its library, asked without a network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use relens::embed::ImageEmbedder;
use relens::embed::retriever::{DEFAULT_MODEL, Retriever};
use relens::library::{IndexingOptions, Library};
use relens::model_hub::ModelHub;
use relens::progress::Silent;
use relens_server::{Server, ServerConfig};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

/// The gallery's directory.
pub(crate) fn gallery() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../gallery")
}

/// A library of the gallery, made once for all tests.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<TempDir> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            let directory = TempDir::new().unwrap();
            fill(directory.path(), &gallery());
            directory
        })
        .path()
}

/// Makes or updates a library.
pub(crate) fn fill(library: &Path, pictures: &Path) {
    let retriever = Retriever::bundled(DEFAULT_MODEL).unwrap();
    let mut library = Library::open_or_create(library, &retriever.model()).unwrap();
    library.index_directory(pictures, &retriever, &IndexingOptions::default(), &mut Silent).unwrap();
}

/// A server, and the directory that it calls home.
pub(crate) struct World {
    pub(crate) home: TempDir,
    pub(crate) server: Server,
    router: Router,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body of an answer that is expected to be one of success.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// The problem's field, of an answer that is expected to be a problem of this status.
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        problem["field"].clone()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let home = TempDir::new().unwrap();
        let hub = ModelHub::from_environment().with_offline(true);
        let mut config = ServerConfig::local(library().to_owned(), home.path().to_owned(), hub);
        config.aliases = BTreeMap::from([("ViT-B-32__openai".to_owned(), DEFAULT_MODEL.to_owned())]);
        // Tests share two cores with whatever else is computed: the time that something takes decides nothing.
        config.limits.request_time = Duration::from_secs(600);
        change(&mut config);
        let server = Server::new(config, Retriever::bundled(DEFAULT_MODEL).unwrap()).unwrap();
        Self { router: server.router(), server, home }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn send_json(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = request(method, path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send_json(Method::POST, path, body).await
    }
}

/// A request as a program on this computer makes it.
pub(crate) fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost:7788")
}

/// The ids of hits, in order.
pub(crate) fn ids(answer: &Value) -> Vec<u64> {
    answer["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_u64().unwrap()).collect()
}

/// The paths of hits, in order.
pub(crate) fn paths(answer: &Value) -> Vec<&str> {
    answer["hits"].as_array().unwrap().iter().map(|hit| hit["path"].as_str().unwrap()).collect()
}
