//! What a long operation tells whoever started it.
//!
//! The libraries draw nothing: the command line turns these calls into a bar with the time left on a terminal, and
//! into log lines elsewhere. One task is at work at a time.

use serde_json::{Map, Value};

/// Receives progress; every method has a silent default.
pub trait Progress {
    /// A task of `total` units begins, for instance "image features" with one unit for each image.
    fn begin(&mut self, task: &str, total: u64) {
        let _ = (task, total);
    }

    /// `done` units of the task are finished, a resumed task's earlier ones included.
    fn advance(&mut self, done: u64) {
        let _ = done;
    }

    /// The task has ended.
    fn end(&mut self) {}

    /// What a training run has measured: a line of its `metrics.jsonl`.
    fn metrics(&mut self, record: &Map<String, Value>) {
        let _ = record;
    }

    /// Something worth a line: a step that is resumed, a file that is left out, an early stop.
    fn message(&mut self, text: &str) {
        let _ = text;
    }

    /// Asked after every step; `true` ends the work at once, as if it had been killed.
    fn cancelled(&mut self) -> bool {
        false
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

#[cfg(test)]
pub(crate) mod tests {
    use super::Progress;

    /// Remembers what it was told, and may stop the work.
    #[derive(Default)]
    pub(crate) struct Watched {
        /// The task at work.
        pub(crate) task: String,
        pub(crate) total: u64,
        /// What was done at each call, of all tasks.
        pub(crate) advances: Vec<u64>,
        /// Cancels once it was told this often.
        pub(crate) stops_after: Option<usize>,
    }

    impl Progress for Watched {
        fn begin(&mut self, task: &str, total: u64) {
            (self.task, self.total) = (task.to_owned(), total);
        }

        fn advance(&mut self, done: u64) {
            self.advances.push(done);
        }

        fn cancelled(&mut self) -> bool {
            self.stops_after.is_some_and(|limit| self.advances.len() >= limit)
        }
    }
}
