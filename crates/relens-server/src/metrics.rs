//! Counters in the form that Prometheus reads.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets of times, in seconds.
const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Upper bounds of the buckets of batches, in texts.
const TEXTS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0];

/// How often values up to each bound were seen.
#[derive(Debug, Clone)]
struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len()], count: 0, sum: 0.0 }
    }

    fn observe(&mut self, value: f64) {
        for (bound, count) in self.bounds.iter().zip(&mut self.counts) {
            *count += u64::from(value <= *bound);
        }
        self.count += 1;
        self.sum += value;
    }

    /// `labels` without the braces, with a comma at its end unless it is empty.
    fn write(&self, text: &mut String, name: &str, labels: &str) {
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            let _ = writeln!(text, "{name}_bucket{{{labels}le=\"{bound}\"}} {count}");
        }
        let labels_alone = labels.trim_end_matches(',');
        let _ = writeln!(text, "{name}_bucket{{{labels}le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(text, "{name}_sum{{{labels_alone}}} {}", self.sum);
        let _ = writeln!(text, "{name}_count{{{labels_alone}}} {}", self.count);
    }
}

/// What has happened since the server was started.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    times: Mutex<BTreeMap<String, Histogram>>,
    stages: Mutex<BTreeMap<&'static str, Histogram>>,
    batches: Mutex<Histogram>,
    /// Texts that were asked for, those that were remembered included.
    pub(crate) texts: AtomicU64,
    /// Of those, texts that had to be embedded.
    pub(crate) texts_embedded: AtomicU64,
    /// Queries that an enhancer changed.
    pub(crate) rewrites: AtomicU64,
    /// Pieces of work that are waiting.
    pub(crate) waiting: AtomicUsize,
    /// Pieces of work that are being done.
    pub(crate) working: AtomicUsize,
    /// Requests that were sent away because too many waited.
    pub(crate) refused: AtomicU64,
    /// How often the library was read.
    pub(crate) library_loads: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            times: Mutex::default(),
            stages: Mutex::default(),
            batches: Mutex::new(Histogram::new(&TEXTS)),
            texts: AtomicU64::default(),
            texts_embedded: AtomicU64::default(),
            rewrites: AtomicU64::default(),
            waiting: AtomicUsize::default(),
            working: AtomicUsize::default(),
            refused: AtomicU64::default(),
            library_loads: AtomicU64::default(),
        }
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// An answered request. `route` is the pattern that matched, not what a client sent: labels stay few.
    pub(crate) fn request(&self, route: &str, status: u16, time: Duration) {
        *lock(&self.requests).entry((route.to_owned(), status)).or_default() += 1;
        let mut times = lock(&self.times);
        times.entry(route.to_owned()).or_insert_with(|| Histogram::new(&SECONDS)).observe(time.as_secs_f64());
    }

    /// The time that a part of the work took.
    pub(crate) fn stage(&self, stage: &'static str, time: Duration) {
        let mut stages = lock(&self.stages);
        stages.entry(stage).or_insert_with(|| Histogram::new(&SECONDS)).observe(time.as_secs_f64());
    }

    /// Texts that were embedded together.
    pub(crate) fn batch(&self, texts: usize) {
        lock(&self.batches).observe(texts as f64);
    }

    /// All of it, in Prometheus's text format.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        head(&mut text, "relens_requests_total", "counter", "Requests by route and status.");
        for ((route, status), count) in lock(&self.requests).iter() {
            let _ = writeln!(text, "relens_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        head(&mut text, "relens_request_seconds", "histogram", "Time of a request by route.");
        for (route, times) in lock(&self.times).iter() {
            times.write(&mut text, "relens_request_seconds", &format!("route=\"{route}\","));
        }
        head(&mut text, "relens_stage_seconds", "histogram", "Time of a part of the work.");
        for (stage, times) in lock(&self.stages).iter() {
            times.write(&mut text, "relens_stage_seconds", &format!("stage=\"{stage}\","));
        }
        head(&mut text, "relens_batch_texts", "histogram", "Texts embedded together.");
        lock(&self.batches).write(&mut text, "relens_batch_texts", "");
        let numbers = [
            ("relens_texts_total", "counter", "Texts asked for.", self.texts.load(Ordering::Relaxed)),
            (
                "relens_texts_embedded_total",
                "counter",
                "Texts embedded, not remembered.",
                self.texts_embedded.load(Ordering::Relaxed),
            ),
            ("relens_rewrites_total", "counter", "Queries rewritten.", self.rewrites.load(Ordering::Relaxed)),
            ("relens_refused_total", "counter", "Requests sent away.", self.refused.load(Ordering::Relaxed)),
            (
                "relens_library_loads_total",
                "counter",
                "Readings of the library.",
                self.library_loads.load(Ordering::Relaxed),
            ),
            ("relens_waiting", "gauge", "Work that waits.", self.waiting.load(Ordering::Relaxed) as u64),
            (
                "relens_working",
                "gauge",
                "Work that is being done.",
                self.working.load(Ordering::Relaxed) as u64,
            ),
        ];
        for (name, kind, help, value) in numbers {
            head(&mut text, name, kind, help);
            let _ = writeln!(text, "{name} {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_all_that_is_at_most_their_bound() {
        let metrics = Metrics::default();
        metrics.request("/search", 200, Duration::from_millis(3));
        metrics.request("/search", 200, Duration::from_millis(700));
        metrics.batch(2);
        let text = metrics.to_text();
        for line in [
            "relens_requests_total{route=\"/search\",status=\"200\"} 2",
            "relens_request_seconds_bucket{route=\"/search\",le=\"0.005\"} 1",
            "relens_request_seconds_bucket{route=\"/search\",le=\"1\"} 2",
            "relens_request_seconds_count{route=\"/search\"} 2",
            "relens_batch_texts_bucket{le=\"1\"} 0",
            "relens_batch_texts_sum{} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in:\n{text}");
        }
    }
}
