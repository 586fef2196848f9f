//! How far long work has come: a bar with the time left in a terminal, plain `key=value` lines elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
static HIDDEN: AtomicBool = AtomicBool::new(false);

/// The least time between two progress lines in a log, so that a long run does not fill it.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Whether progress is shown at all.
pub(crate) fn set_hidden(hidden: bool) {
    HIDDEN.store(hidden, Ordering::Relaxed);
}

/// Does something to standard error while no bar is drawn there.
pub(crate) fn beside<T>(work: impl FnOnce() -> T) -> T {
    BARS.suspend(work)
}

/// Prints a line on standard error. A closed standard error is no reason to fail.
pub(crate) fn print_line(line: &str) {
    beside(|| drop(writeln!(std::io::stderr(), "{line}")));
}

/// The same, unless `--quiet` was given: what is good to know but no error.
pub(crate) fn note(line: &str) {
    if !HIDDEN.load(Ordering::Relaxed) {
        print_line(line);
    }
}

/// One piece of work as it is shown; libraries and commands reach it through [`Reporter`](crate::reporter::Reporter).
pub(crate) struct ShownTask {
    what: String,
    shown: Shown,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

struct Lines {
    start: Instant,
    printed: Instant,
    /// What was done when it was first told, and when: work that goes on did not do that just now.
    first: Option<(u64, Instant)>,
    done: u64,
    total: u64,
}

impl ShownTask {
    /// Starts with nothing done. `what` is the bar's label and the log lines' first word.
    pub(crate) fn start(what: &str, total: u64) -> Self {
        let shown = if HIDDEN.load(Ordering::Relaxed) {
            Shown::Nothing
        } else if std::io::stderr().is_terminal() {
            Shown::Bar(bar(what, total))
        } else {
            let now = Instant::now();
            Shown::Lines(Mutex::new(Lines { start: now, printed: now, first: None, done: 0, total }))
        };
        Self { what: what.to_owned(), shown }
    }

    /// `done` of `total` units are finished; `total` may still grow while the work is being found.
    pub(crate) fn update(&self, done: u64, total: u64) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.set_length(total);
                let first = bar.position() == 0;
                bar.set_position(done);
                if first && done > 0 {
                    bar.reset_eta();
                }
            }
            Shown::Lines(lines) => {
                // A panic elsewhere must not turn progress into a second one.
                let mut lines = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                lines.first.get_or_insert_with(|| (done, Instant::now()));
                lines.done = done;
                lines.total = total;
                if lines.printed.elapsed() >= LINE_INTERVAL {
                    lines.printed = Instant::now();
                    print_line(&lines.describe(&self.what));
                }
            }
        }
    }

    /// Removes the bar, or prints the last line.
    pub(crate) fn finish(self) {
        match self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.finish_and_clear();
                BARS.remove(&bar);
            }
            Shown::Lines(lines) => {
                let lines = lines.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
                print_line(&lines.describe(&self.what));
            }
        }
    }
}

impl Lines {
    fn describe(&self, what: &str) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        let rate = self.first.map_or(0.0, |(done, since)| {
            let seconds = since.elapsed().as_secs_f64();
            if seconds > 0.0 { self.done.saturating_sub(done) as f64 / seconds } else { 0.0 }
        });
        let left = self.total.saturating_sub(self.done) as f64;
        let eta = if rate > 0.0 { format!("{:.0}", left / rate) } else { "unknown".to_owned() };
        let (done, total) = (self.done, self.total);
        let task = what.replace(char::is_whitespace, "-");
        format!(
            "progress task={task} done={done} total={total} seconds={seconds:.1} per_second={rate:.1} eta_seconds={eta}"
        )
    }
}

fn bar(what: &str, total: u64) -> ProgressBar {
    let template = "{prefix:>10} [{bar:32}] {human_pos}/{human_len}  {per_sec}  {eta} left";
    // Hidden until it is one of the bars: a line that is drawn before that stays on the terminal for good.
    let bar =
        ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()).with_prefix(what.to_owned());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.set_style(style.progress_chars("=> ")),
        Err(error) => tracing::debug!("the plain progress bar is used: {error}"),
    }
    let bar = BARS.add(bar);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_tells_rate_and_time_left() {
        let start = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        let lines =
            |first| Lines { start, printed: start, first: Some((first, start)), done: 50, total: 150 };
        let line = lines(0).describe("index");
        assert!(line.starts_with("progress task=index done=50 total=150 seconds=10."), "{line}");
        assert!(line.ends_with("per_second=5.0 eta_seconds=20"), "{line}");
        let resumed = lines(40).describe("index");
        assert!(resumed.ends_with("per_second=1.0 eta_seconds=100"), "{resumed}");
    }

    #[test]
    fn nothing_done_yet_has_no_time_left() {
        let now = Instant::now();
        let line = Lines { start: now, printed: now, first: None, done: 0, total: 7 }.describe("index");
        assert!(line.ends_with("eta_seconds=unknown"), "{line}");
    }
}
