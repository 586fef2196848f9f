//! The queue of work: so much at once, so much waiting, and no more.
//!
//! What computes or reads files runs on threads of its own. A client that goes away while its work waits gives its
//! place back; work that has begun is finished.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Semaphore;

use crate::config::Limits;
use crate::metrics::Metrics;
use crate::problem::HttpProblem;

/// Threads that work, and places to wait for one.
pub(crate) struct Workers {
    working: Arc<Semaphore>,
    waiting: usize,
    metrics: Arc<Metrics>,
}

/// A place in the queue, given back however the waiting ends.
struct WaitingPlace<'a>(&'a Metrics);

impl Drop for WaitingPlace<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Work that is being done, on its own thread.
struct Working(Arc<Metrics>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    pub(crate) fn new(limits: &Limits, metrics: Arc<Metrics>) -> Self {
        Self { working: Arc::new(Semaphore::new(limits.working.max(1))), waiting: limits.waiting, metrics }
    }

    /// Does `work` on a thread of its own as soon as there is one.
    ///
    /// # Errors
    /// 503 if too many wait already; those of `work`; 500 if it panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HttpProblem> + Send + 'static,
    ) -> Result<T, HttpProblem> {
        let permit = match self.working.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let place = self.place()?;
                let permit = self.working.clone().acquire_owned().await;
                drop(place);
                permit.map_err(|_| HttpProblem::busy())?
            }
        };
        self.metrics.working.fetch_add(1, Ordering::Relaxed);
        let working = Working(self.metrics.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _held = (permit, working);
            work()
        });
        done.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a request's work has failed");
            Err(HttpProblem::internal("the work on this request failed; the server goes on"))
        })
    }

    fn place(&self) -> Result<WaitingPlace<'_>, HttpProblem> {
        let before = self.metrics.waiting.fetch_add(1, Ordering::Relaxed);
        let place = WaitingPlace(&self.metrics);
        if before >= self.waiting {
            self.metrics.refused.fetch_add(1, Ordering::Relaxed);
            return Err(HttpProblem::busy());
        }
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn who_comes_when_the_queue_is_full_is_sent_away_and_a_panic_is_an_answer() {
        let limits = Limits { working: 1, waiting: 1, ..Limits::default() };
        let workers = Arc::new(Workers::new(&limits, Arc::default()));
        let (finish, finished) = mpsc::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let first = tokio::spawn({
            let workers = workers.clone();
            async move {
                let work = move || {
                    let _ = begun.send(());
                    Ok(finished.recv())
                };
                workers.run(work).await.map(|_| 1)
            }
        });
        has_begun.await.unwrap();
        let second = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(|| Ok(2)).await }
        });
        while workers.metrics.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(workers.run(|| Ok(3)).await.unwrap_err().status(), 503);
        finish.send(()).unwrap();
        assert_eq!((first.await.unwrap().unwrap(), second.await.unwrap().unwrap()), (1, 2));
        assert_eq!(workers.run::<u8>(|| panic!("on purpose")).await.unwrap_err().status(), 500);
        assert_eq!(workers.run(|| Ok(4)).await.unwrap(), 4);
        assert_eq!(workers.metrics.working.load(Ordering::Relaxed), 0);
    }
}
