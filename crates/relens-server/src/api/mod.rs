//! The interface at `/api/v1`.

mod description;
mod download;
mod embed;
mod explain;
pub(crate) mod extract;
mod filters;
mod images;
mod indexing;
mod judgements;
mod knowledge;
mod library;
mod rewrite;
mod search;
mod status;
mod terms;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get, post, put};
use serde_json::Value;

use self::description::{DescribedRoutes, Operation};
use crate::engine::Services;
use crate::problem::HttpProblem;

pub(crate) use embed::{embed_pictures, embed_texts};
pub(crate) use status::{health, metrics, ready};
pub(crate) use terms::{SearchTerm, TermContext};

/// What all requests share, as handlers take it.
pub(crate) type Shared = State<Arc<Services>>;

/// From what people type, show or like to pictures.
const SEARCH: &str = "search";
/// The library's pictures, by id.
const PICTURES: &str = "pictures";
/// What entities look like and what words mean.
const KNOWLEDGE: &str = "knowledge";
/// How the server is.
const SERVER: &str = "server";

/// All routes of the interface, and their description.
pub(crate) fn router() -> (Router<Arc<Services>>, Value) {
    server_routes(knowledge_routes(picture_routes(search_routes(DescribedRoutes::below("/api/v1"))))).finish()
}

fn search_routes(routes: DescribedRoutes) -> DescribedRoutes {
    let searches = Operation::new::<search::SearchAnswer>(
        "post",
        SEARCH,
        "Ranks the pictures for a text, a picture, a vector, or several of them with weights",
    );
    let rewrites =
        Operation::new::<rewrite::QueryRewrite>("post", SEARCH, "Shows what would be searched for, and why");
    let embeds = Operation::new::<embed::EmbedAnswer>("post", SEARCH, "Embeds texts or pictures");
    let explains = Operation::new::<explain::Explanation>(
        "post",
        SEARCH,
        "Which pixels and words the score of a hit comes from, before and after the rewrite",
    );
    let judges = Operation::new::<Vec<judgements::JudgedHit>>(
        "post",
        SEARCH,
        "Says that a hit is right or wrong for a query, or takes it back",
    );
    let judged =
        Operation::new::<Vec<judgements::JudgedHit>>("get", SEARCH, "What was said of a query's hits");
    routes
        .route("/search", post(search::search), &searches.body::<search::SearchRequest>())
        .route("/rewrite", post(rewrite::rewrite), &rewrites.body::<rewrite::RewriteRequest>())
        .route("/embed", post(embed::embed), &embeds.body::<embed::EmbedRequest>())
        .route("/explain", post(explain::explain), &explains.body::<explain::ExplainRequest>())
        .route("/judgements", post(judgements::judge), &judges.body::<judgements::JudgementRequest>())
        .route("/judgements", get(judgements::list), &judged.query::<judgements::JudgementsQuery>())
}

fn picture_routes(routes: DescribedRoutes) -> DescribedRoutes {
    let describes = Operation::new::<images::Picture>("get", PICTURES, "What the library knows of a picture");
    let original = Operation::file(PICTURES, "The picture's file", "image/*");
    let thumbnail =
        Operation::file(PICTURES, "The picture as a small JPEG, made once and kept", "image/jpeg");
    let downloads =
        Operation::file(PICTURES, "The files of several pictures in one archive", "application/zip");
    let similar = Operation::new::<search::SearchAnswer>("get", PICTURES, "Pictures that look like this one");
    routes
        .route("/images/zip", get(download::download), &downloads.query::<download::DownloadQuery>())
        .route("/images/{id}", get(images::describe), &describes)
        .route("/images/{id}/original", get(images::original), &original)
        .route("/images/{id}/thumbnail", get(images::thumbnail), &thumbnail.query::<images::ThumbnailQuery>())
        .route("/images/{id}/similar", get(images::similar), &similar.query::<images::SimilarQuery>())
}

fn knowledge_routes(routes: DescribedRoutes) -> DescribedRoutes {
    let lists = Operation::new::<knowledge::EntitiesAnswer>(
        "get",
        KNOWLEDGE,
        "The entities whose names have a text in them",
    );
    let shows = Operation::new::<knowledge::EntityBody>("get", KNOWLEDGE, "What is known of an entity");
    let lists_words =
        Operation::new::<words::WordsAnswer>("get", KNOWLEDGE, "The words that have a text in them");
    let shows_word = Operation::new::<words::WordBody>("get", KNOWLEDGE, "What a word means");
    let history = Operation::new::<Vec<knowledge::RevisionAnswer>>(
        "get",
        KNOWLEDGE,
        "What was changed, the latest first",
    );
    let changes = |method, summary| Operation::new::<knowledge::ChangeAnswer>(method, KNOWLEDGE, summary);
    let puts = changes("put", "Stores an entity in place of what is there; searches use it at once");
    let puts_word = changes("put", "Says what a word means; searches use it at once");
    let forgets = changes("delete", "Forgets what a person said about a word");
    let undoes = changes("post", "Takes back a revision, the latest if none is named");
    let (entity, word) = ("/knowledge/entities/{name}", "/knowledge/words/{word}");
    routes
        .route("/knowledge/entities", get(knowledge::list_entities), &lists.query::<knowledge::ListQuery>())
        .route(entity, get(knowledge::entity), &shows)
        .route(entity, put(knowledge::put_entity), &puts.body::<knowledge::EntityBody>())
        .route(entity, delete(knowledge::delete_entity), &changes("delete", "Removes an entity"))
        .route("/knowledge/words", get(words::list_words), &lists_words.query::<knowledge::ListQuery>())
        .route(word, get(words::word), &shows_word)
        .route(word, put(words::put_word), &puts_word.body::<words::WordBody>())
        .route(word, delete(words::delete_word), &forgets)
        .route("/knowledge/history", get(knowledge::history), &history.query::<knowledge::HistoryQuery>())
        .route("/knowledge/undo", post(knowledge::undo), &undoes.body::<knowledge::UndoRequest>())
}

fn server_routes(routes: DescribedRoutes) -> DescribedRoutes {
    let library = Operation::new::<library::LibraryAnswer>("get", SERVER, "What is searched");
    let indexes =
        Operation::events(SERVER, "Brings the library up to date with its folders, and tells of it");
    let health = Operation::new::<status::Health>("get", SERVER, "Whether the model answers");
    let ready = Operation::new::<status::Readiness>("get", SERVER, "Whether the library can be searched");
    let metrics = Operation::file(SERVER, "Counters in Prometheus's text format", "text/plain");
    routes
        .route("/library", get(library::library), &library)
        .route("/index", post(indexing::index), &indexes.body::<indexing::IndexRequest>())
        .route("/health", get(status::health), &health)
        .route("/ready", get(status::ready), &ready)
        .route("/metrics", get(status::metrics), &metrics)
}

/// Refuses a change where nothing may be changed.
fn ensure_writable(engine: &Services) -> Result<(), HttpProblem> {
    if engine.config.read_only {
        let reason = "this server was started with --read-only: nothing can be changed through it";
        return Err(HttpProblem::new(StatusCode::FORBIDDEN, reason));
    }
    Ok(())
}
