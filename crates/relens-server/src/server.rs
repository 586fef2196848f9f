//! Listening, and the way of a request through the server.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use relens::embed::retriever::Retriever;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::ServerConfig;
use crate::engine::Services;
use crate::error::ServerError;
use crate::guard::{Guard, guard, session};
use crate::problem::HttpProblem;
use crate::{api, compatible, page};

/// How long requests on their way may take when the server is to stop.
const TIME_TO_FINISH: Duration = Duration::from_secs(20);
/// To explain a hit, the model is differentiated some dozen times: that may take so many times longer than all else.
const TIMES_LONGER_TO_EXPLAIN: u32 = 4;
/// How long to wait when the system gives no connection, because too many files are open.
const REST: Duration = Duration::from_millis(100);

/// A server that answers as [`ServerConfig`] says.
pub struct Server {
    engine: Arc<Services>,
    router: Router,
}

impl Server {
    /// A server around `retriever`, which searches the library and is the first of the models that clients may name.
    ///
    /// # Errors
    /// [`ServerError::Unprotected`] if others can reach the address and nothing keeps them out;
    /// [`ServerError::Setting`]; [`ServerError::Relens`].
    pub fn new(config: ServerConfig, retriever: impl Into<Arc<Retriever>>) -> Result<Self, ServerError> {
        let guard = Arc::new(Guard::new(&config)?);
        let engine = Arc::new(Services::new(config, retriever.into())?);
        Ok(Self { router: router(&engine, guard), engine })
    }

    /// The routes, for who wants to serve them in another way or to test them.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Listens at the address of the configuration; port 0 takes any that is free.
    ///
    /// # Errors
    /// [`ServerError::Listen`].
    pub async fn bind(&self) -> Result<TcpListener, ServerError> {
        let address = self.engine.config.listen;
        TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })
    }

    /// Answers until `stop` is there; then finishes what is on its way.
    ///
    /// # Errors
    /// [`ServerError::Io`] if the listener ends.
    pub async fn serve(
        &self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let limits = &self.engine.config.limits;
        let connections = Arc::new(Semaphore::new(limits.connections.max(1)));
        let graceful = GracefulShutdown::new();
        let mut stop = pin!(stop);
        loop {
            // A connection is only taken when there is room for it: the others wait in the system's queue.
            let room = connections.clone();
            let next = async {
                let permit = room.acquire_owned().await.ok();
                (permit, listener.accept().await)
            };
            tokio::select! {
                (permit, accepted) = next => match (permit, accepted) {
                    (Some(permit), Ok((stream, address))) => self.answer(stream, address, permit, &graceful),
                    (None, _) => break,
                    (_, Err(error)) => {
                        tracing::warn!(%error, "a connection could not be taken");
                        tokio::time::sleep(REST).await;
                    }
                },
                () = &mut stop => break,
            }
        }
        drop(listener);
        self.engine.stopping.store(true, Ordering::Relaxed);
        if tokio::time::timeout(TIME_TO_FINISH, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests that took too long were given up");
        }
        Ok(())
    }

    fn answer(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        permit: OwnedSemaphorePermit,
        graceful: &GracefulShutdown,
    ) {
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(self.router.clone());
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.engine.config.limits.header_time)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "a connection ended early");
            }
            drop(permit);
        });
    }
}

/// The description of the interface, as `/api/v1/openapi.json` answers it.
///
/// # Errors
/// [`ServerError::Io`] if it cannot be written as JSON.
pub fn openapi_json() -> Result<String, ServerError> {
    let (_, description) = api::router();
    serde_json::to_string_pretty(&description).map_err(|error| ServerError::Io(error.into()))
}

fn router(engine: &Arc<Services>, guarded: Arc<Guard>) -> Router {
    let (routes, description) = api::router();
    let description = Arc::new(description.to_string());
    let describe = move || {
        let description = description.clone();
        async move { ([("content-type", "application/json")], description.as_str().to_owned()) }
    };
    let sessions = Router::new().route("/api/v1/session", post(session)).with_state(guarded.clone());
    routes
        .route("/api/v1/openapi.json", get(describe))
        .merge(compatible::router())
        .merge(page::router())
        .route("/metrics", get(api::metrics))
        .route("/ready", get(api::ready))
        .with_state(engine.clone())
        .merge(sessions)
        .fallback(async || {
            HttpProblem::not_found("there is nothing at this address; /api lists what there is")
        })
        .method_not_allowed_fallback(async || {
            HttpProblem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this address takes other methods; /api lists them",
            )
        })
        .layer(DefaultBodyLimit::max(engine.config.limits.body_bytes))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            HttpProblem::internal("this request failed; the server goes on").into_response()
        }))
        .layer(from_fn_with_state(engine.clone(), timed))
        .layer(from_fn_with_state((guarded, engine.clone()), guard))
}

/// Ends a request that takes too long, its body included; counts and logs it.
async fn timed(State(engine): State<Arc<Services>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let longer = if route.ends_with("/explain") { TIMES_LONGER_TO_EXPLAIN } else { 1 };
    let limit = engine.config.limits.request_time * longer;
    let response = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let reason = format!("the request was not there or not answered within {} s", limit.as_secs());
            HttpProblem::new(StatusCode::REQUEST_TIMEOUT, reason).into_response()
        }
    };
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    engine.metrics.request(&route, status, took);
    // Not the address that was asked for: it can hold what somebody searched for.
    tracing::info!(%method, route, status, took_ms = took.as_secs_f64() * 1000.0, "request");
    response
}
