//! What a request holds, with errors that name the field.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::RemoteImages;
use crate::problem::HttpProblem;

/// A body of JSON.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = HttpProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpProblem> {
        if !is_json(request.headers()) {
            let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let found = kind.unwrap_or("something else").to_owned();
            let problem = HttpProblem::field("Content-Type", "application/json", found);
            return Err(problem.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let bytes = Bytes::from_request(request, state).await?;
        parse(&bytes).map(Self)
    }
}

/// Whether the body says that it is JSON, or nothing at all: some clients leave it out.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}

/// Reads JSON; the problem names the field as a path.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HttpProblem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        let field = if field == "." { "body" } else { &field };
        let found: String = error.inner().to_string().chars().take(300).collect();
        HttpProblem::field(field, "what the interface describes", found)
    })?;
    deserializer.end().map_err(|error| HttpProblem::field("body", "one JSON value", error.to_string()))?;
    Ok(parsed)
}

/// The part of an address after `?`.
pub(crate) struct QueryPart<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryPart<T> {
    type Rejection = HttpProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpProblem> {
        let Query(query) = Query::from_request_parts(parts, state).await?;
        Ok(Self(query))
    }
}

/// The variable parts of a path.
pub(crate) struct PathPart<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathPart<T> {
    type Rejection = HttpProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpProblem> {
        let Path(path) = Path::from_request_parts(parts, state).await?;
        Ok(Self(path))
    }
}

/// An answer of JSON.
pub(crate) struct JsonAnswer<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for JsonAnswer<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => {
                HttpProblem::internal(format!("the answer cannot be written: {error}")).into_response()
            }
        }
    }
}

/// The bytes of a picture in base64, bare or as a `data:` address; addresses of the network are fetched by `remote`.
///
/// # Errors
/// It is none of these, or cannot be fetched.
pub(crate) fn picture_bytes(
    text: &str,
    field: &str,
    remote: Option<&RemoteImages>,
) -> Result<Vec<u8>, HttpProblem> {
    let encoded = match text.strip_prefix("data:") {
        Some(data) => data.split_once(";base64,").map(|(_, encoded)| encoded).ok_or_else(|| {
            HttpProblem::field(field, "a data: address in base64", "another kind of data: address")
        })?,
        None if text.starts_with("http://") || text.starts_with("https://") => {
            if let Some(remote) = remote {
                return remote.fetch(text, field);
            }
            let found = "an address of the network (--allow-remote-images fetches them)";
            return Err(HttpProblem::field(field, "a picture in base64, or a data: address", found));
        }
        None => text,
    };
    BASE64.decode(encoded.trim()).map_err(|error| {
        HttpProblem::field(field, "a picture in base64", format!("a text that is none: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Two {
        #[allow(dead_code)]
        words: Vec<u8>,
    }

    #[test]
    fn a_problem_says_where_in_the_body_it_is() {
        let problem = serde_json::to_value(parse::<Two>(br#"{"words": [1, 300]}"#).unwrap_err()).unwrap();
        assert_eq!(problem["field"], "words[1]");
        for broken in ["", "{", r#"{"words": []} {}"#, "null", &"[".repeat(10_000)] {
            assert!(parse::<Two>(broken.as_bytes()).is_err());
        }
    }

    #[test]
    fn pictures_come_in_base64_and_never_from_the_network() {
        assert_eq!(picture_bytes("aGk=", "image", None).unwrap(), b"hi");
        assert_eq!(picture_bytes("data:image/png;base64,aGk=", "image", None).unwrap(), b"hi");
        for refused in ["http://localhost/a.png", "https://example.com/a.png", "data:,hi", "?"] {
            assert!(picture_bytes(refused, "image", None).is_err(), "{refused}");
        }
    }
}
