//! `GET /library`: what is searched.

use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::Shared;
use super::extract::JsonAnswer;
use crate::engine::Services;
use crate::problem::HttpProblem;

/// The library that is searched.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LibraryAnswer {
    /// Pictures that can be found.
    pictures: usize,
    /// Files that were left out.
    skipped: usize,
    /// The model that made the vectors.
    model: String,
    /// Components of a vector.
    dim: usize,
    /// Where it lies.
    directory: String,
    /// The folders whose pictures it holds.
    folders: Vec<String>,
    /// Whether nothing can be changed through this server.
    read_only: bool,
    /// The models that clients may name.
    models: Vec<String>,
}

/// What is searched.
pub(super) async fn library(State(engine): Shared) -> Result<JsonAnswer<LibraryAnswer>, HttpProblem> {
    let work = move |engine: &Services| {
        let models = engine.models.names().into_iter().map(str::to_owned).collect();
        let read_only = engine.config.read_only;
        let state = engine.library.read(|library, _| {
            let catalog = library.catalog();
            let folders = catalog.folders()?;
            Ok(LibraryAnswer {
                pictures: catalog.image_count()?,
                skipped: catalog.skipped_count()?,
                model: catalog.model().name.clone(),
                dim: catalog.model().dim,
                directory: library.directory().to_string_lossy().into_owned(),
                folders: folders.iter().map(|folder| folder.path.to_string_lossy().into_owned()).collect(),
                read_only,
                models,
            })
        })?;
        Ok(state)
    };
    engine.run(work).await.map(JsonAnswer)
}
