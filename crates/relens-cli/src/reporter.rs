//! Shows the progress of long operations in the libraries.

use relens::progress::Progress;
use serde_json::{Map, Value};

use crate::interrupt;
use crate::progress::{self, ShownTask};

/// Shows the progress of a library's long operation as bars, log lines and notes; Ctrl-C cancels it.
#[derive(Default)]
pub(crate) struct Reporter {
    task: Option<(ShownTask, u64)>,
}

impl Progress for Reporter {
    fn begin(&mut self, task: &str, total: u64) {
        self.end();
        self.task = Some((ShownTask::start(task, total), total));
    }

    fn advance(&mut self, done: u64) {
        if let Some((shown, total)) = &self.task {
            // The total may be the best guess of work that has no limit.
            shown.update(done, done.max(*total));
        }
    }

    fn end(&mut self) {
        if let Some((shown, _)) = self.task.take() {
            shown.finish();
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
        self.end();
    }
}

/// Measured recalls in percent, short enough for a line: `T2I R@1/5/10 35.1 64.0 75.3 %, I2T R@1/5/10 …`.
pub(crate) fn recalls(metrics: &Map<String, Value>) -> String {
    let directions = [("image_retrieval_recall@", "T2I"), ("text_retrieval_recall@", "I2T")];
    let shown = directions.into_iter().filter_map(|(prefix, direction)| {
        let found = metrics.iter().filter_map(|(name, value)| {
            Some((name.strip_prefix(prefix)?, format!("{:.1}", 100.0 * value.as_f64()?)))
        });
        let (cut_offs, values): (Vec<&str>, Vec<String>) = found.unzip();
        (!values.is_empty()).then(|| format!("{direction} R@{} {} %", cut_offs.join("/"), values.join(" ")))
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recalls_of_both_directions_fit_a_line() {
        let mut metrics = Map::new();
        for direction in ["image_retrieval", "text_retrieval"] {
            for (k, recall) in [(1, 0.351), (5, 0.6), (10, 1.0)] {
                metrics.insert(format!("{direction}_recall@{k}"), recall.into());
            }
        }
        metrics.insert("image_retrieval_mean_rank".to_owned(), 3.5.into());
        let line = format!("step 123456: {}", recalls(&metrics));
        assert_eq!(line, "step 123456: T2I R@1/5/10 35.1 60.0 100.0 %, I2T R@1/5/10 35.1 60.0 100.0 %");
        assert!(line.len() <= 80, "{line}");
        assert_eq!(recalls(&Map::new()), "");
    }
}
