//! The model behind an endpoint: a thread that keeps many requests on their way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::accounting::{Account, ClientUsage, Reservation};
use super::api_key::ApiKey;
use super::error::LlmError;
use super::record_store::{RecordStore, RecordedReply};
use super::request::{ChatReply, ChatRequest, RequestKey};
use super::settings::ClientConfig;
use super::transport;
use super::transport::{Failure, Transport};
use super::wire::{self, Received};
use super::{ChatModel, Deliver};

/// So many requests that fail one after the other end the run: something is wrong that asking on will not mend.
const FAILURES_TO_GIVE_UP: u32 = 20;

struct Job {
    request: ChatRequest,
    deliver: Deliver,
}

/// A chat model behind an endpoint, or its recorded replies.
///
/// Dropping it waits for requests on their way, whose replies are recorded.
pub struct LlmClient {
    shared: Arc<Shared>,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    settings: ClientConfig,
    key: ApiKey,
    transport: Option<Transport>,
    store: Option<Mutex<RecordStore>>,
    account: Mutex<Account>,
    /// Once set, nothing more is asked.
    stopped: Mutex<Option<LlmError>>,
    stop_signal: Notify,
    /// Told whenever a reservation is given back.
    released: Notify,
    /// Who waits for a request that is on its way already.
    waiting: Mutex<HashMap<RequestKey, Vec<Deliver>>>,
    in_flight: Semaphore,
    failures_in_a_row: AtomicU32,
}

impl LlmClient {
    /// Starts the thread. Without a store nothing is recorded.
    ///
    /// # Errors
    /// [`LlmError::Setting`].
    pub fn start(settings: ClientConfig, key: ApiKey, store: Option<RecordStore>) -> Result<Self, LlmError> {
        settings.check()?;
        let transport = if settings.replay { None } else { Some(Transport::new(&settings, &key)?) };
        // A budget is for the whole work: what earlier runs have spent is in the records.
        let before = store.as_ref().map(RecordStore::spent).unwrap_or_default();
        let shared = Arc::new(Shared {
            account: Mutex::new(Account::new(settings.prices, settings.budget, before)),
            in_flight: Semaphore::new(settings.in_flight.min(Semaphore::MAX_PERMITS)),
            settings,
            key,
            transport,
            store: store.map(Mutex::new),
            stopped: Mutex::default(),
            stop_signal: Notify::new(),
            released: Notify::new(),
            waiting: Mutex::default(),
            failures_in_a_row: AtomicU32::new(0),
        });
        let failed = |error: std::io::Error| LlmError::Setting {
            field: "threads",
            expected: "one more".to_owned(),
            found: error.to_string(),
        };
        // One thread does: requests wait for the network, and nothing but `reserve` needs an order among them.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (jobs, receiver) = mpsc::unbounded_channel();
        let worker = shared.clone();
        let thread = std::thread::Builder::new()
            .name("llm".to_owned())
            .spawn(move || runtime.block_on(work(worker, receiver)))
            .map_err(failed)?;
        Ok(Self { shared, jobs: Some(jobs), thread: Some(thread) })
    }

    /// What was asked and spent so far.
    pub fn usage(&self) -> ClientUsage {
        lock(&self.shared.account).usage()
    }

    /// Why nothing more is asked, if that is so.
    pub fn stopped(&self) -> Option<LlmError> {
        lock(&self.shared.stopped).clone()
    }
}

impl ChatModel for LlmClient {
    fn model(&self) -> &str {
        &self.shared.settings.model
    }

    /// Requests on their way are finished and recorded; those that wait are not sent.
    fn cancel(&self) {
        self.shared.stop(LlmError::Cancelled);
    }

    fn submit(&self, request: ChatRequest, deliver: Deliver) {
        let job = Job { request, deliver };
        if let Some(jobs) = &self.jobs
            && let Err(refused) = jobs.send(job)
        {
            (refused.0.deliver)(Err(LlmError::Cancelled));
        }
    }
}

impl Drop for LlmClient {
    fn drop(&mut self) {
        // Closing the channel lets the worker finish what was accepted; replies that are paid for are still recorded.
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that asks the language model has panicked");
        }
        if let Some(store) = &self.shared.store
            && let Err(error) = lock(store).sync()
        {
            tracing::error!("{error}");
        }
    }
}

/// Takes jobs until nobody can send any, then waits for those on their way.
async fn work(shared: Arc<Shared>, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut running = JoinSet::new();
    while let Some(job) = jobs.recv().await {
        running.spawn(shared.clone().serve(job));
        // Finished ones are let go, so that a long run does not collect them.
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
}

impl Shared {
    async fn serve(self: Arc<Self>, job: Job) {
        let Job { request, deliver } = job;
        let key = match self.recorded(&request) {
            Err(error) => return deliver(Err(error)),
            Ok(Found::Reply(reply)) => return deliver(Ok(reply)),
            Ok(Found::Missing(key)) => key,
        };
        {
            let mut waiting = lock(&self.waiting);
            // The same question asked twice at once is paid for once.
            if let Some(others) = waiting.get_mut(&key) {
                others.push(deliver);
                return;
            }
            waiting.insert(key, Vec::new());
        }
        let outcome = self.fetch(&request, key).await;
        self.note_failures(&outcome);
        let others = lock(&self.waiting).remove(&key).unwrap_or_default();
        for other in others {
            // Only the first of them has caused costs.
            other(outcome.clone().map(|reply| ChatReply { replayed: true, ..reply }));
        }
        deliver(outcome);
    }

    fn recorded(&self, request: &ChatRequest) -> Result<Found, LlmError> {
        let model = &self.settings.model;
        let key = request.key(model)?;
        let Some(store) = &self.store else { return self.unless_replaying(request, key) };
        let mut store = lock(store);
        if let Some(reply) = store.get(key)? {
            lock(&self.account).usage_mut().replayed += 1;
            return Ok(Found::Reply(reply));
        }
        if self.settings.replay {
            let reason = store.why_missing(request, model)?;
            return Err(LlmError::NotRecorded { label: request.label.clone(), reason });
        }
        Ok(Found::Missing(key))
    }

    fn unless_replaying(&self, request: &ChatRequest, key: RequestKey) -> Result<Found, LlmError> {
        if !self.settings.replay {
            return Ok(Found::Missing(key));
        }
        let reason = "there are no records at all".to_owned();
        Err(LlmError::NotRecorded { label: request.label.clone(), reason })
    }

    async fn fetch(&self, request: &ChatRequest, key: RequestKey) -> Result<ChatReply, LlmError> {
        let _permit = self.in_flight.acquire().await.map_err(|_| LlmError::Cancelled)?;
        let body = wire::body(request, &self.settings)?;
        let mut attempt = 1;
        loop {
            // Looked at before every attempt: the work may have been stopped during the pause.
            if let Some(error) = lock(&self.stopped).clone() {
                return Err(error);
            }
            let reservation = self.reserve(request).await?;
            let outcome = match &self.transport {
                Some(transport) => transport.attempt(body.clone()).await,
                None => return Err(LlmError::Cancelled),
            };
            lock(&self.account).usage_mut().attempts += 1;
            let failure = match outcome {
                Ok(received) => return self.keep(request, key, received, reservation),
                Err(failure) => failure,
            };
            let pause = self.after(failure, request, attempt, reservation)?;
            // Either the pause is over or the work is: what comes next looks.
            let _ = tokio::time::timeout(pause, self.stop_signal.notified()).await;
            attempt += 1;
        }
    }

    /// Sets aside what the request may cost. Where the budget has no room, others may have set aside more than they need.
    async fn reserve(&self, request: &ChatRequest) -> Result<Reservation, LlmError> {
        let (prompt, completion) = (request.estimated_prompt_tokens(), u64::from(request.max_tokens));
        loop {
            let (reserved, others) = {
                let mut account = lock(&self.account);
                (account.reserve(prompt, completion), account.has_reservations())
            };
            match reserved {
                Ok(reservation) => return Ok(reservation),
                // With requests on their way, some of what they reserved may come back; with none, nothing will.
                Err(error) if !others => {
                    self.stop(error.clone());
                    return Err(error);
                }
                Err(_) => {}
            }
            // Nothing else runs on this thread between the look above and the wait here, so that no sign is missed.
            self.released.notified().await;
            if let Some(error) = lock(&self.stopped).clone() {
                return Err(error);
            }
        }
    }

    /// Accounts for a failed attempt; how long to wait before the next one.
    fn after(
        &self,
        failure: Failure,
        request: &ChatRequest,
        attempt: u32,
        reservation: Reservation,
    ) -> Result<Duration, LlmError> {
        lock(&self.account).release(reservation);
        self.released.notify_waiters();
        let label = request.label.clone();
        match failure {
            Failure::Key { status, message } => {
                let error = LlmError::KeyRefused { status, message: self.key.redact(&message) };
                self.stop(error.clone());
                Err(error)
            }
            Failure::Rejected { status, message } => {
                Err(LlmError::Rejected { label, status, message: self.key.redact(&message) })
            }
            Failure::Passing { reason, wait, charged } => {
                if charged {
                    self.record_lost(request, reservation)?;
                }
                let last = self.key.redact(&reason);
                tracing::debug!("{label}: attempt {attempt}: {last}");
                if attempt >= self.settings.retry.attempts {
                    return Err(LlmError::NoReply { label, attempts: attempt, last });
                }
                Ok(transport::pause(&self.settings.retry, attempt, wait))
            }
        }
    }

    /// Records a reply before anybody sees it.
    fn keep(
        &self,
        request: &ChatRequest,
        key: RequestKey,
        received: Received,
        reservation: Reservation,
    ) -> Result<ChatReply, LlmError> {
        // Not every server counts. The guess errs to the high side, so that a budget holds.
        let guess = (reservation.prompt_tokens, received.content.len() as u64 / 3 + 1);
        let (prompt_tokens, completion_tokens) = received.tokens.unwrap_or(guess);
        let cost = {
            let mut account = lock(&self.account);
            account.release(reservation);
            account.usage_mut().replies += 1;
            account.spend(prompt_tokens, completion_tokens)
        };
        self.released.notify_waiters();
        let reply = ChatReply {
            content: self.key.redact(&received.content),
            refusal: received.refusal.map(|refusal| self.key.redact(&refusal)),
            finish_reason: self.key.redact(&received.finish_reason),
            prompt_tokens,
            completion_tokens,
            cost,
            replayed: false,
        };
        if let Some(store) = &self.store {
            // Recorded before it is delivered: a kill between the two costs nothing.
            let recorded = RecordedReply { key: key.to_string(), ..self.record_of(request, &reply) };
            lock(store).put(key, &recorded).inspect_err(|error| self.stop(error.clone()))?;
        }
        Ok(reply)
    }

    /// Counts an attempt that may have been charged for, at the price of its prompt.
    fn record_lost(&self, request: &ChatRequest, reservation: Reservation) -> Result<(), LlmError> {
        let prompt_tokens = reservation.prompt_tokens;
        let cost = {
            let mut account = lock(&self.account);
            account.usage_mut().lost += 1;
            // The prompt was probably charged; what was written of the answer nobody knows.
            account.spend(prompt_tokens, 0)
        };
        let Some(store) = &self.store else { return Ok(()) };
        let reply = ChatReply {
            content: String::new(),
            refusal: None,
            finish_reason: "lost".to_owned(),
            prompt_tokens,
            completion_tokens: 0,
            cost,
            replayed: false,
        };
        let recorded = self.record_of(request, &reply);
        lock(store).put_lost(&recorded).inspect_err(|error| self.stop(error.clone()))
    }

    fn record_of(&self, request: &ChatRequest, reply: &ChatReply) -> RecordedReply {
        RecordedReply {
            key: String::new(),
            label: request.label.clone(),
            prompt: request.prompt.clone(),
            model: self.settings.model.clone(),
            content: reply.content.clone(),
            refusal: reply.refusal.clone(),
            finish_reason: reply.finish_reason.clone(),
            prompt_tokens: reply.prompt_tokens,
            completion_tokens: reply.completion_tokens,
            cost: reply.cost,
        }
    }

    fn note_failures(&self, outcome: &Result<ChatReply, LlmError>) {
        match outcome {
            Ok(_) => self.failures_in_a_row.store(0, Ordering::Relaxed),
            // They stop everything by themselves, and a stop is no series of failures.
            Err(error) if error.is_final() => {}
            Err(error) => {
                let failures = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
                if failures >= FAILURES_TO_GIVE_UP {
                    self.stop(LlmError::GivenUp { failures, last: error.to_string() });
                }
            }
        }
    }

    fn stop(&self, error: LlmError) {
        // The first reason stays: what fails afterwards is its consequence.
        lock(&self.stopped).get_or_insert(error);
        self.stop_signal.notify_waiters();
        self.released.notify_waiters();
    }
}

enum Found {
    Reply(ChatReply),
    Missing(RequestKey),
}

/// A panic elsewhere must not turn into a second one here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
