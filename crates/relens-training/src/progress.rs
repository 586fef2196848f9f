//! What a long operation tells whoever started it.
//!
//! The library draws nothing: the command line turns these calls into bars with an ETA on a terminal, and into
//! [`JsonLinesProgress`] elsewhere.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// Receives progress; every method has a silent default.
pub trait Progress {
    /// A task of `total` units begins, for instance "image features" with one unit a picture.
    fn begin(&mut self, task: &str, total: u64) {
        let _ = (task, total);
    }

    /// `done` units of the task are finished, a resumed task's earlier ones included.
    fn advance(&mut self, done: u64) {
        let _ = done;
    }

    /// The task has ended.
    fn end(&mut self) {}

    /// A line of `metrics.jsonl`.
    fn metrics(&mut self, record: &Map<String, Value>) {
        let _ = record;
    }

    /// Something worth a line: a resumed step, a damaged checkpoint, an early stop.
    fn message(&mut self, text: &str) {
        let _ = text;
    }

    /// Asked after every step; `true` ends the run at once, as if it had been killed.
    fn cancelled(&mut self) -> bool {
        false
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// How often a running task is reported.
const INTERVAL: Duration = Duration::from_secs(5);

/// One JSON object a line, for programs and log files.
#[derive(Debug)]
pub struct JsonLinesProgress<W: Write> {
    writer: W,
    task: Option<Task>,
}

#[derive(Debug)]
struct Task {
    name: String,
    total: u64,
    /// Units that were done before this process began counting.
    first: Option<u64>,
    started: Instant,
    reported: Instant,
}

impl<W: Write> JsonLinesProgress<W> {
    /// Writes to `writer`; a line that cannot be written is dropped, for training matters more.
    pub fn new(writer: W) -> Self {
        Self { writer, task: None }
    }

    fn line(&mut self, value: &Value) {
        let _ = writeln!(self.writer, "{value}").and_then(|()| self.writer.flush());
    }
}

impl<W: Write> Progress for JsonLinesProgress<W> {
    fn begin(&mut self, task: &str, total: u64) {
        let now = Instant::now();
        self.task = Some(Task { name: task.to_owned(), total, first: None, started: now, reported: now });
        self.line(&json!({"event": "begin", "task": task, "total": total}));
    }

    fn advance(&mut self, done: u64) {
        let Some(task) = &mut self.task else { return };
        let first = *task.first.get_or_insert(done);
        if task.reported.elapsed() < INTERVAL {
            return;
        }
        task.reported = Instant::now();
        let seconds = task.started.elapsed().as_secs_f64();
        let rate = done.saturating_sub(first) as f64 / seconds;
        let remaining = task.total.saturating_sub(done) as f64 / rate;
        let record = json!({
            "event": "progress", "task": task.name, "done": done, "total": task.total,
            "per_second": rate, "seconds_left": if remaining.is_finite() { Some(remaining) } else { None },
        });
        self.line(&record);
    }

    fn end(&mut self) {
        if let Some(task) = self.task.take() {
            let seconds = task.started.elapsed().as_secs_f64();
            self.line(&json!({"event": "end", "task": task.name, "seconds": seconds}));
        }
    }

    fn metrics(&mut self, record: &Map<String, Value>) {
        self.line(&json!({"event": "metrics", "record": record}));
    }

    fn message(&mut self, text: &str) {
        self.line(&json!({"event": "message", "text": text}));
    }
}
