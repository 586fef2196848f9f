//! A run's reports on the terminal.

use relens_training::progress::Progress as TrainingProgress;
use serde_json::{Map, Value};

use crate::interrupt;
use crate::progress::{self, Progress};

/// Measured values as `name value`, recalls in percent.
pub(super) fn measured(metrics: &Map<String, Value>) -> String {
    let recalls = metrics.iter().filter(|(name, _)| name.contains("recall@"));
    let shown = recalls.filter_map(|(name, value)| Some(format!("{name} {:.1} %", 100.0 * value.as_f64()?)));
    shown.collect::<Vec<_>>().join(", ")
}

/// Turns a run's reports into bars, log lines and notes.
#[derive(Default)]
pub(super) struct Watch {
    task: Option<(Progress, u64)>,
}

impl TrainingProgress for Watch {
    fn begin(&mut self, task: &str, total: u64) {
        self.end();
        self.task = Some((Progress::start(task, total), total));
    }

    fn advance(&mut self, done: u64) {
        if let Some((progress, total)) = &self.task {
            progress.update(done, *total);
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
            progress::note(&format!("step {step}: {}", measured(record)));
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
