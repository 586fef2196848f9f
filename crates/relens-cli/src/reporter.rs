//! What a library's long operation tells, shown to the user.

use serde_json::{Map, Value};

use crate::interrupt;
use crate::progress::{self, Progress};

/// Shows what a library's long operation tells: bars, log lines and notes; Ctrl-C cancels it.
#[derive(Default)]
pub(crate) struct Reporter {
    task: Option<(Progress, u64)>,
}

impl relens::progress::Progress for Reporter {
    fn begin(&mut self, task: &str, total: u64) {
        self.end();
        self.task = Some((Progress::start(task, total), total));
    }

    fn advance(&mut self, done: u64) {
        if let Some((progress, total)) = &self.task {
            // The total may be the best guess of work that has no limit.
            progress.update(done, done.max(*total));
        }
    }

    fn end(&mut self) {
        if let Some((progress, _)) = self.task.take() {
            progress.finish();
        }
    }

    fn metrics(&mut self, record: &Map<String, Value>) {
        if record.contains_key("split") {
            let step = record.get("step").and_then(Value::as_u64).unwrap_or_default();
            progress::note(&format!("step {step}: {}", recalls(record)));
        } else {
            // Outside the macro, which has a `Value` of its own.
            let line = Value::Object(record.clone());
            tracing::info!("{line}");
        }
    }

    fn message(&mut self, text: &str) {
        progress::note(text);
    }

    fn cancelled(&mut self) -> bool {
        interrupt::requested()
    }
}

impl Drop for Reporter {
    /// An operation that fails does not say that its task has ended.
    fn drop(&mut self) {
        relens::progress::Progress::end(self);
    }
}

/// Measured recalls as `name value`, in percent.
pub(crate) fn recalls(metrics: &Map<String, Value>) -> String {
    let recalls = metrics.iter().filter(|(name, _)| name.contains("recall@"));
    let shown = recalls.filter_map(|(name, value)| Some(format!("{name} {:.1} %", 100.0 * value.as_f64()?)));
    shown.collect::<Vec<_>>().join(", ")
}
