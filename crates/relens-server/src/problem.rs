//! What a client is told when something is wrong: problem details as RFC 9457 has them.

use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use relens::error::Error;
use schemars::JsonSchema;
use serde::Serialize;

/// Seconds after which a client that was sent away may ask again.
const RETRY_AFTER: &str = "1";

/// What was wrong with a request. In a box, for every answer has room for one.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct HttpProblem(Box<ProblemDetails>);

/// What was wrong with a request (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct ProblemDetails {
    /// Always `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// What happened, what was expected, what was found.
    detail: String,
    /// The part of the request that is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What may stand there.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    /// What stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
}

impl HttpProblem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(ProblemDetails {
            kind: "about:blank",
            title: title(status),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            expected: None,
            found: None,
        }))
    }

    /// A part of the request that cannot be used.
    pub(crate) fn field(field: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        let (expected, found) = (expected.into(), found.into());
        let detail = format!("{field}: expected {expected}, found {found}");
        let mut problem = Self::new(StatusCode::BAD_REQUEST, detail);
        (problem.0.field, problem.0.expected, problem.0.found) =
            (Some(field.to_owned()), Some(expected), Some(found));
        problem
    }

    /// The same under another status.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        (self.0.title, self.0.status) = (title(status), status.as_u16());
        self
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, what)
    }

    /// More work than can wait: the client may come again.
    pub(crate) fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait already; ask again in a moment")
    }

    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

fn title(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("Error").to_owned()
}

impl IntoResponse for HttpProblem {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!(status = self.0.status, detail = self.0.detail, "a request failed");
        }
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}

impl From<Error> for HttpProblem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::EmptyQuery => Self::field("query", "at least one visible character", "none"),
            Error::QueryTooLong { limit, found } => {
                Self::field("query", format!("at most {limit} bytes"), found.to_string())
            }
            Error::UnknownEnhancer { name, available } => {
                Self::field("enhancer", format!("one of {available}"), format!("`{name}`"))
            }
            Error::InvalidEntity { field, expected, found, .. } => Self::field(&field, expected, found),
            Error::UnknownEntity { .. } => Self::not_found(detail),
            Error::CannotUndo { .. } | Error::OtherModel { .. } => Self::new(StatusCode::CONFLICT, detail),
            Error::NoLibrary { .. } => Self::not_found(detail),
            Error::Busy { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            Error::DiskFull { .. } => Self::new(StatusCode::INSUFFICIENT_STORAGE, detail),
            Error::NotWritable { .. } => Self::new(StatusCode::FORBIDDEN, detail),
            Error::Enhancer { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            _ => Self::internal(detail),
        }
    }
}

impl From<BytesRejection> for HttpProblem {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for HttpProblem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for HttpProblem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_field_and_says_when_to_come_again() {
        let json = serde_json::to_value(HttpProblem::field("k", "1 to 1000", "0")).unwrap();
        assert_eq!(json["detail"], "k: expected 1 to 1000, found 0");
        assert_eq!((&json["field"], &json["status"]), (&"k".into(), &400.into()));
        let response = HttpProblem::busy().into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
