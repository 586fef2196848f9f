//! Queries that are more than a text: terms with weights, and pictures that were judged right or wrong.
//!
//! Relevance feedback moves a query's vector towards what was judged right and away from what was judged wrong (Rocchio,
//! "Relevance feedback in information retrieval", 1971):
//!
//! ```text
//! q' = α·q + β·mean(right) − γ·mean(wrong),   scaled to length 1
//! ```

use serde::{Deserialize, Serialize};

use super::combined_queries::weighted_sum;
use crate::embed::embeddings::Embeddings;
use crate::error::Result;

/// How far judged pictures move a query.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RocchioConfig {
    /// α, the share of the query itself; default 1.
    pub query: f32,
    /// β, that of the pictures judged right; default 0.75.
    pub right: f32,
    /// γ, that of the pictures judged wrong; default 0.15.
    pub wrong: f32,
}

impl Default for RocchioConfig {
    fn default() -> Self {
        Self { query: 1.0, right: 0.75, wrong: 0.15 }
    }
}

/// Vectors with weights as one: their sum, scaled to length 1. A weight below 0 moves away.
///
/// # Shapes
/// - `terms`: vectors of `dim` components; result: `[1, dim]`
///
/// # Errors
/// [`Error::Enhancer`](crate::error::Error::Enhancer) if the terms cancel each other.
pub fn combine_terms(terms: &[(f32, &[f32])], dim: usize) -> Result<Embeddings> {
    weighted_sum(terms, dim, "the terms of the query")
}

/// The query's vector after pictures were judged; without a query, between the right ones and away from the wrong ones.
///
/// # Shapes
/// - `query`: `[dim]`; `right`, `wrong`: `[n, dim]`; all L2-normalised; result: `[1, dim]`
///
/// # Errors
/// [`Error::Enhancer`](crate::error::Error::Enhancer) if nothing is left to search for.
pub fn rocchio(
    query: Option<&[f32]>,
    right: &Embeddings,
    wrong: &Embeddings,
    config: RocchioConfig,
) -> Result<Embeddings> {
    let mut terms: Vec<(f32, &[f32])> = query.map(|query| (config.query, query)).into_iter().collect();
    let share = |weight: f32, rows: &Embeddings| weight / rows.rows().max(1) as f32;
    let (gain, loss) = (share(config.right, right), share(config.wrong, wrong));
    terms.extend(right.iter().map(|row| (gain, row)));
    terms.extend(wrong.iter().map(|row| (-loss, row)));
    combine_terms(&terms, right.dim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[f32]) -> Embeddings {
        Embeddings::from_rows(2, values.to_vec()).unwrap()
    }

    #[test]
    fn a_query_moves_towards_what_is_right_and_away_from_what_is_wrong() {
        let (query, none) = ([0.6, 0.8], Embeddings::new(2));
        let config = RocchioConfig::default();
        let moved = rocchio(Some(&query), &rows(&[1.0, 0.0]), &none, config).unwrap();
        assert!(moved.row(0)[0] > 0.6, "{moved:?}");
        let moved = rocchio(Some(&query), &none, &rows(&[1.0, 0.0]), config).unwrap();
        assert!(moved.row(0)[0] < 0.6, "{moved:?}");
        moved.ensure_normalised("moved").unwrap();
    }

    #[test]
    fn many_judgements_count_as_much_as_one() {
        let one =
            rocchio(Some(&[0.6, 0.8]), &rows(&[1.0, 0.0]), &Embeddings::new(2), RocchioConfig::default());
        let many = rows(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        let many = rocchio(Some(&[0.6, 0.8]), &many, &Embeddings::new(2), RocchioConfig::default());
        let (one, many) = (one.unwrap(), many.unwrap());
        assert!(one.row(0).iter().zip(many.row(0)).all(|(one, many)| (one - many).abs() < 1e-6));
    }

    #[test]
    fn without_a_query_the_right_pictures_are_the_query() {
        let moved = rocchio(None, &rows(&[0.0, 1.0]), &Embeddings::new(2), RocchioConfig::default()).unwrap();
        assert_eq!(moved.row(0), [0.0, 1.0]);
        assert!(rocchio(None, &Embeddings::new(2), &Embeddings::new(2), RocchioConfig::default()).is_err());
    }
}
