//! The library's pictures, by id: no path that a client sends is ever opened.

use std::io::Read;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use relens::library::catalog::CatalogImage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::extract::{JsonAnswer, PathPart, QueryPart};
use super::search::{SearchAnswer, page, similar as similar_to};
use crate::engine::{Services, THUMBNAIL_SIZES};
use crate::problem::HttpProblem;

/// Originals up to this size are handed out whole, in bytes.
const LARGEST_ORIGINAL: u64 = 64 << 20;
/// How long a browser may keep a picture, which has its own address as long as its file is the same.
const KEEP: &str = "private, max-age=3600";
/// A picture's file may hold a document of another kind: nothing in it may run.
const NOTHING_RUNS: &str = "default-src 'none'; sandbox";

/// A picture of the library.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Picture {
    /// Its number in the library.
    id: u64,
    /// Where its file is.
    path: String,
    /// In pixels.
    width: u32,
    /// In pixels.
    height: u32,
    /// Of the file, in bytes, when it was indexed.
    size: u64,
    /// Texts that came with it.
    captions: Vec<String>,
}

/// The picture of this number.
///
/// # Errors
/// 404 if the library has none.
pub(super) fn find(engine: &Services, id: u64) -> Result<CatalogImage, HttpProblem> {
    let found = engine.library.image(id)?;
    found.ok_or_else(|| HttpProblem::not_found(format!("the library has no picture {id}")))
}

/// What the library knows of a picture.
pub(super) async fn describe(
    State(engine): Shared,
    PathPart(id): PathPart<u64>,
) -> Result<JsonAnswer<Picture>, HttpProblem> {
    let work = move |engine: &Services| {
        let image = find(engine, id)?;
        let captions = engine.library.read(|library, _| library.catalog().captions(id))?;
        Ok(Picture {
            id,
            path: image.path.to_string_lossy().into_owned(),
            width: image.width,
            height: image.height,
            size: image.state.size,
            captions,
        })
    };
    engine.run(work).await.map(JsonAnswer)
}

/// The picture's file.
pub(super) async fn original(
    State(engine): Shared,
    PathPart(id): PathPart<u64>,
) -> Result<Response, HttpProblem> {
    let bytes = engine.run(move |engine| read_original(&find(engine, id)?)).await?;
    let kind = image::guess_format(&bytes).map_or("application/octet-stream", |format| format.to_mime_type());
    Ok(picture_response(bytes, kind))
}

fn read_original(image: &CatalogImage) -> Result<Vec<u8>, HttpProblem> {
    let gone = || HttpProblem::not_found(format!("the file of picture {} cannot be read", image.id));
    let metadata = fs_err::metadata(&image.path).map_err(|_| gone())?;
    if !metadata.is_file() {
        return Err(HttpProblem::not_found(format!("picture {} is no file of its own", image.id)));
    }
    if metadata.len() > LARGEST_ORIGINAL {
        let reason = format!("the file has more than {LARGEST_ORIGINAL} bytes; there are thumbnails of it");
        return Err(HttpProblem::new(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    let mut bytes = Vec::new();
    let file = fs_err::File::open(&image.path).map_err(|_| gone())?;
    file.take(LARGEST_ORIGINAL).read_to_end(&mut bytes).map_err(|_| gone())?;
    Ok(bytes)
}

fn picture_response(bytes: Vec<u8>, kind: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static(KEEP)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(NOTHING_RUNS)),
    ];
    (headers, bytes).into_response()
}

/// How large a thumbnail is to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ThumbnailQuery {
    /// The longer side: 128, 256, 512 or 1024 pixels; 256 if nothing is said.
    size: Option<u32>,
}

/// The picture as a small JPEG, made once and kept.
pub(super) async fn thumbnail(
    State(engine): Shared,
    PathPart(id): PathPart<u64>,
    QueryPart(query): QueryPart<ThumbnailQuery>,
) -> Result<Response, HttpProblem> {
    let size = query.size.unwrap_or(256);
    if !THUMBNAIL_SIZES.contains(&size) {
        return Err(HttpProblem::field("size", format!("one of {THUMBNAIL_SIZES:?}"), size.to_string()));
    }
    let work = move |engine: &Services| {
        let image = find(engine, id)?;
        engine.thumbnails.jpeg(&image, size).map_err(|error| {
            tracing::debug!(%error, "no thumbnail");
            HttpProblem::not_found(format!("the file of picture {id} cannot be read as a picture"))
        })
    };
    Ok(picture_response(engine.run(work).await?, "image/jpeg"))
}

/// How many pictures.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SimilarQuery {
    /// How many; 50 if nothing is said.
    k: Option<u64>,
}

/// Pictures that look like this one.
pub(super) async fn similar(
    State(engine): Shared,
    PathPart(id): PathPart<u64>,
    QueryPart(query): QueryPart<SimilarQuery>,
) -> Result<JsonAnswer<SearchAnswer>, HttpProblem> {
    let (k, _) = page(&engine, query.k, 0)?;
    engine.run(move |engine| similar_to(engine, id, k)).await.map(JsonAnswer)
}
