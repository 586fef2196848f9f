//! What a browser gets: files that are part of the program, so that nothing is loaded from elsewhere.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::compatible::GREETING;
use crate::engine::Services;
use crate::problem::HttpProblem;

/// A file of the page: its name, its kind, and what is in it.
struct PageFile {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const DOCUMENT: &str = "text/html; charset=utf-8";

macro_rules! page_file {
    ($name:literal, $kind:expr) => {
        PageFile { name: $name, kind: $kind, content: include_str!(concat!("files/", $name)) }
    };
}

const FILES: &[PageFile] = &[
    page_file!("page.css", "text/css; charset=utf-8"),
    page_file!("icon.svg", "image/svg+xml"),
    page_file!("main.js", SCRIPT),
    page_file!("state.js", SCRIPT),
    page_file!("requests.js", SCRIPT),
    page_file!("elements.js", SCRIPT),
    page_file!("filters.js", SCRIPT),
    page_file!("grid.js", SCRIPT),
    page_file!("rewrite.js", SCRIPT),
    page_file!("viewer.js", SCRIPT),
    page_file!("knowledge.js", SCRIPT),
    page_file!("api.js", SCRIPT),
];

pub(crate) fn router() -> Router<Arc<Services>> {
    Router::new()
        .route("/", get(start))
        .route("/api", get(async || document(include_str!("files/api.html"))))
        .route("/page/{file}", get(file))
        .route("/favicon.ico", get(async || answer("image/svg+xml", include_str!("files/icon.svg"))))
}

/// The page; a program that asks here is looking for immich's service.
async fn start(headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/html") {
        return document(include_str!("files/index.html"));
    }
    let greeting = json!({ "message": GREETING }).to_string();
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], greeting).into_response()
}

async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => answer(file.kind, file.content),
        None => HttpProblem::not_found("the page has no such file").into_response(),
    }
}

fn document(content: &'static str) -> Response {
    answer(DOCUMENT, content)
}

fn answer(kind: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        // Asked for again each time: after an update the old page would ask the new server.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, content).into_response()
}
