//! relens over HTTP: an interface for programs, forms that existing clients speak, and a page for people.
//!
//! - [`ServerConfig`] says what is served and to whom; [`Server`] listens and answers until it is told to stop.
//! - `engine` holds what requests share: models, each with one thread that embeds the texts of all clients together; the
//!   library, read again when another process has changed it; thumbnails; and the bounded queue of work.
//! - `api` is the interface at `/api/v1`, described at `/api/v1/openapi.json`; `compatible` answers in the forms of other
//!   servers; `page` is what a browser gets.
//! - `guard` refuses whom it does not know, before anything is read.
//!
//! Nothing that computes or reads files runs on the threads that serve connections: a slow request delays no other.

mod api;
mod compatible;
mod config;
mod engine;
mod error;
mod guard;
mod metrics;
mod page;
mod problem;
mod server;
mod streaming;

pub use config::{Limits, ServerConfig};
pub use error::ServerError;
pub use server::{Server, openapi_json};
