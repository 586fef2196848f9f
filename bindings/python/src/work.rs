//! Long work beside the interpreter: its lock is free meanwhile, Ctrl-C is heard, progress is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use pyo3::prelude::*;
use relens::progress::Progress;

use crate::fault::{Fault, Result};
use crate::process;

/// How often Python's signals are looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// What work tells while it goes on.
enum Report {
    Begin(String, u64),
    Advance(u64),
    End,
    Message(String),
}

/// Sends what it is told to the thread that waits.
pub(crate) struct Reports {
    sender: Sender<Report>,
    stopped: Arc<AtomicBool>,
}

impl Reports {
    /// Set when the work is to stop, for what asks while nothing is told.
    pub(crate) fn stopped(&self) -> Arc<AtomicBool> {
        self.stopped.clone()
    }
}

impl Progress for Reports {
    fn begin(&mut self, task: &str, total: u64) {
        // Nobody listens any more after an interruption.
        let _ = self.sender.send(Report::Begin(task.to_owned(), total));
    }

    fn advance(&mut self, done: u64) {
        let _ = self.sender.send(Report::Advance(done));
    }

    fn end(&mut self) {
        let _ = self.sender.send(Report::End);
    }

    fn message(&mut self, text: &str) {
        let _ = self.sender.send(Report::Message(text.to_owned()));
    }

    fn cancelled(&mut self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// Runs `work` on a thread of its own and waits for it.
///
/// `on_progress` is called as `on_progress(kind, task_or_message, number)` with the kinds `begin`, `advance`, `end` and
/// `message`. After Ctrl-C, or an exception of `on_progress`, the caller goes on at once: the work sees at its next step
/// that it is to stop, with everything kept that was finished, and what it borrows it owns.
pub(crate) fn run<T, W>(py: Python<'_>, on_progress: Option<&Py<PyAny>>, work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce(&mut Reports) -> Result<T> + Send + 'static,
{
    process::ensure_not_forked()?;
    let (sender, mut receiver) = channel();
    let stopped = Arc::new(AtomicBool::new(false));
    let mut reports = Reports { sender, stopped: stopped.clone() };
    let worker = std::thread::Builder::new()
        .name("relens".to_owned())
        .spawn(move || work(&mut reports))
        .map_err(|error| Fault::Relens(error.into()))?;
    loop {
        let (back, report) = py.detach(move || received(receiver));
        receiver = back;
        let reported = match report {
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(report) => on_progress.map_or(Ok(()), |callback| tell(py, callback, report)),
        };
        if let Err(error) = reported.and_then(|()| py.check_signals()) {
            stopped.store(true, Ordering::Relaxed);
            return Err(error.into());
        }
    }
    // The sender is gone, so the work is done, or it panicked.
    py.detach(|| worker.join()).unwrap_or_else(|panic| Err(Fault::Internal(words_of(panic.as_ref()))))
}

/// Runs short work without the interpreter's lock, on this thread; Ctrl-C is heard after it.
pub(crate) fn briefly<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    process::ensure_not_forked()?;
    py.detach(|| catch_unwind(AssertUnwindSafe(work)))
        .unwrap_or_else(|panic| Err(Fault::Internal(words_of(panic.as_ref()))))
}

fn received(receiver: Receiver<Report>) -> (Receiver<Report>, Result<Report, RecvTimeoutError>) {
    let report = receiver.recv_timeout(GLANCE);
    (receiver, report)
}

fn tell(py: Python<'_>, callback: &Py<PyAny>, report: Report) -> PyResult<()> {
    let arguments = match report {
        Report::Begin(task, total) => ("begin", task, total),
        Report::Advance(done) => ("advance", String::new(), done),
        Report::End => ("end", String::new(), 0),
        Report::Message(text) => ("message", text, 0),
    };
    callback.call1(py, arguments).map(drop)
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}
