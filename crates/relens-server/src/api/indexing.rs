//! `POST /index`: the library brought up to date with its folders, told as it goes.
//!
//! Only folders that are in the library already: else whoever reaches the server could have any file of the computer
//! shown. `relens index DIR` adds others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use relens::embed::ImageEmbedder;
use relens::error::Error;
use relens::library::{IndexLock, IndexingOptions, IndexingSummary, Library};
use relens::progress::Progress;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::extract::JsonBody;
use super::{Shared, ensure_writable};
use crate::engine::Services;
use crate::problem::HttpProblem;
use crate::streaming::channel;

/// Between two events of progress, at least.
const BETWEEN_EVENTS: Duration = Duration::from_millis(250);

/// What is to be brought up to date.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IndexRequest {
    /// One of the library's folders, or one below it; all of them if nothing is said.
    directory: Option<PathBuf>,
}

/// What was done, as the last event says it.
#[derive(Debug, Default, Serialize)]
struct IndexedCounts {
    added: usize,
    changed: usize,
    moved: usize,
    removed: usize,
    unchanged: usize,
    skipped: usize,
}

impl IndexedCounts {
    fn add(&mut self, summary: &IndexingSummary) {
        self.added += summary.added;
        self.changed += summary.updated;
        self.moved += summary.moved;
        self.removed += summary.deleted;
        self.unchanged += summary.unchanged;
        self.skipped += summary.skipped;
    }
}

/// Brings the library up to date, and tells of it by server-sent events: `progress`, `message`, and `done` or `problem`
/// as the last one. When the client goes away, the work stops; what is done is kept.
pub(super) async fn index(
    State(engine): Shared,
    JsonBody(request): JsonBody<IndexRequest>,
) -> Result<Response, HttpProblem> {
    ensure_writable(&engine)?;
    let prepare = move |engine: &Services| {
        let folders = request.folders(engine)?;
        Ok((folders, lock(&engine.config.library)?))
    };
    let (folders, lock) = engine.run(prepare).await?;
    let (sender, body) = channel();
    let mut telling =
        Telling { sender, engine: engine.clone(), task: String::new(), total: 0, done: 0, last_event: None };
    // Not in the queue of work: this may take hours.
    tokio::task::spawn_blocking(move || {
        let outcome = fill(&engine, &folders, &mut telling);
        drop(lock);
        telling.end_with(outcome);
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(body)).into_response())
}

impl IndexRequest {
    fn folders(&self, engine: &Services) -> Result<Vec<PathBuf>, HttpProblem> {
        let folders = engine.library.read(|library, _| library.catalog().folders())?;
        let folders: Vec<PathBuf> = folders.into_iter().map(|folder| folder.path).collect();
        let Some(asked) = &self.directory else { return Ok(folders) };
        // Links and dots are resolved before it is compared.
        let known = fs_err::canonicalize(asked)
            .ok()
            .filter(|asked| asked.is_dir() && folders.iter().any(|folder| asked.starts_with(folder)));
        let known = known.ok_or_else(|| {
            let expected = "one of the library's folders, or one below it (`relens index DIR` adds others)";
            HttpProblem::field("directory", expected, "another path").with_status(StatusCode::FORBIDDEN)
        })?;
        Ok(vec![known])
    }
}

fn lock(library: &Path) -> Result<IndexLock, HttpProblem> {
    let mut holder = None;
    let lock = Library::lock(library, |who| {
        holder = Some(who.to_owned());
        false
    });
    lock.map_err(|error| match (error, holder) {
        (Error::Cancelled, Some(who)) => {
            HttpProblem::new(StatusCode::CONFLICT, format!("{who} is indexing into this library already"))
        }
        (error, _) => error.into(),
    })
}

fn fill(engine: &Services, folders: &[PathBuf], telling: &mut Telling) -> Result<IndexedCounts, HttpProblem> {
    let retriever = &engine.models.first().retriever;
    let mut library = Library::open_or_create(&engine.config.library, &retriever.model())?;
    // Half of the cores: searches are answered meanwhile.
    let jobs = (IndexingOptions::default().jobs / 2).max(1);
    let options = IndexingOptions { jobs, ..IndexingOptions::default() };
    let mut counts = IndexedCounts::default();
    for folder in folders {
        if telling.cancelled() {
            break;
        }
        if !folder.is_dir() {
            telling.message(&format!("{} is not there; its pictures are kept", folder.display()));
            continue;
        }
        counts.add(&library.index_directory(folder, &**retriever, &options, telling)?);
    }
    Ok(counts)
}

/// Turns progress into events.
struct Telling {
    sender: mpsc::Sender<Bytes>,
    engine: Arc<Services>,
    task: String,
    total: u64,
    done: u64,
    last_event: Option<Instant>,
}

impl Telling {
    fn tell(&self, event: &str, data: &Value) {
        // A client that has gone is noticed by `cancelled`.
        let _ = self.sender.blocking_send(Bytes::from(format!("event: {event}\ndata: {data}\n\n")));
    }

    fn end_with(&self, outcome: Result<IndexedCounts, HttpProblem>) {
        match outcome {
            Ok(counts) => self.tell("done", &json!(counts)),
            Err(problem) => self.tell("problem", &json!(problem)),
        }
    }

    fn tell_progress(&mut self) {
        self.last_event = Some(Instant::now());
        self.tell("progress", &json!({"task": self.task, "done": self.done, "total": self.total}));
    }
}

impl Progress for Telling {
    fn begin(&mut self, task: &str, total: u64) {
        (self.task, self.total, self.done) = (task.to_owned(), total, 0);
        self.tell_progress();
    }

    fn advance(&mut self, done: u64) {
        self.done = done;
        if done >= self.total
            || self.last_event.is_none_or(|last_event| last_event.elapsed() >= BETWEEN_EVENTS)
        {
            self.tell_progress();
        }
    }

    fn message(&mut self, text: &str) {
        self.tell("message", &json!({"text": text}));
    }

    fn cancelled(&mut self) -> bool {
        self.sender.is_closed() || self.engine.stopping.load(Ordering::Relaxed)
    }
}
