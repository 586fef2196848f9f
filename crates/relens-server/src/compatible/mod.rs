//! Other servers' forms, so that their clients can ask relens without being changed.

mod clip_retrieval;
mod immich;
mod openai;
mod text_embeddings_inference;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use relens::embed::embeddings::Embeddings;
use serde::Deserialize;

use crate::engine::Services;
use crate::problem::HttpProblem;

/// The header by which a client that knows relens says what rewrites its texts: `default`, `identity`, or another name.
const ENHANCER_HEADER: &str = "x-relens-enhancer";

/// The routes of all forms.
pub(crate) fn router() -> Router<Arc<Services>> {
    Router::new()
        .merge(openai::router())
        .merge(text_embeddings_inference::router())
        .merge(immich::router())
        .merge(clip_retrieval::router())
}

pub(crate) use immich::GREETING;

/// What rewrites the texts of a request: as its header says, else as is usual for the form.
fn enhancer(headers: &HeaderMap, usual: &str) -> String {
    let asked = headers.get(ENHANCER_HEADER).and_then(|value| value.to_str().ok());
    asked.unwrap_or(usual).trim().to_owned()
}

/// One text, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_texts(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

/// The first `dimensions` components of vectors, scaled to length 1 again; all of them if nothing is said.
fn shortened(vectors: Embeddings, dimensions: Option<u64>) -> Result<Embeddings, HttpProblem> {
    let Some(wanted) = dimensions else { return Ok(vectors) };
    let dim = vectors.dim();
    let fitting = usize::try_from(wanted).ok().filter(|wanted| (1..=dim).contains(wanted));
    let wanted =
        fitting.ok_or_else(|| HttpProblem::field("dimensions", format!("1 to {dim}"), wanted.to_string()))?;
    let rows = vectors.iter().flat_map(|row| row.iter().take(wanted).copied()).collect();
    let mut vectors = Embeddings::from_rows(wanted, rows)?;
    vectors.normalise();
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortened_vectors_have_length_one_again() {
        let vectors = || Embeddings::from_rows(3, vec![0.6, 0.0, 0.8]).unwrap();
        assert_eq!(shortened(vectors(), Some(2)).unwrap().into_vec(), [1.0, 0.0]);
        assert_eq!(shortened(vectors(), None).unwrap().dim(), 3);
        assert!(shortened(vectors(), Some(0)).is_err() && shortened(vectors(), Some(4)).is_err());
    }
}
