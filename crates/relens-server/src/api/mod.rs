//! The interface at `/api/v1`.

pub(crate) mod extract;
mod embed;
mod explain;
mod images;
mod judgements;
mod knowledge;
mod library;
mod rewrite;
mod search;
mod status;
mod terms;
mod words;

use std::sync::Arc;

use axum::extract::State;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::engine::Engine;
use crate::problem::Problem;

pub(crate) use embed::{embed_pictures, embed_texts};
pub(crate) use status::health;
pub(crate) use terms::{SearchTerm, TermContext};

/// What all requests share, as handlers take it.
pub(crate) type Shared = State<Arc<Engine>>;

/// Where the interface begins.
const PREFIX: &str = "/api/v1";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "relens",
        description = "Image search that understands people. Errors are problem details (RFC 9457).",
    ),
    tags(
        (name = "search", description = "From what people type, show or like to pictures"),
        (name = "pictures", description = "The library's pictures, by id"),
        (name = "knowledge", description = "What entities look like and what words mean"),
        (name = "server", description = "How the server is"),
    ),
)]
struct Description;

/// All routes of the interface, and their description.
pub(crate) fn router() -> OpenApiRouter<Arc<Engine>> {
    let routes = OpenApiRouter::new()
        .routes(routes!(search::search))
        .routes(routes!(rewrite::rewrite))
        .routes(routes!(embed::embed))
        .routes(routes!(explain::explain))
        .routes(routes!(images::describe))
        .routes(routes!(images::original))
        .routes(routes!(images::thumbnail))
        .routes(routes!(images::similar))
        .routes(routes!(library::library))
        .routes(routes!(judgements::list, judgements::judge))
        .routes(routes!(knowledge::list_entities))
        .routes(routes!(knowledge::entity, knowledge::put_entity, knowledge::delete_entity))
        .routes(routes!(words::list_words))
        .routes(routes!(words::word, words::put_word, words::delete_word))
        .routes(routes!(knowledge::history))
        .routes(routes!(knowledge::undo))
        .routes(routes!(status::health))
        .routes(routes!(status::metrics));
    OpenApiRouter::with_openapi(Description::openapi()).nest(PREFIX, routes)
}

/// Refuses a change where nothing may be changed.
fn ensure_writable(engine: &Engine) -> Result<(), Problem> {
    if engine.config.read_only {
        let reason = "this server was started with --read-only: nothing can be changed through it";
        return Err(Problem::new(axum::http::StatusCode::FORBIDDEN, reason));
    }
    Ok(())
}
