//! The query as it is: the baseline.

use super::{EnhancedQuery, Query, QueryEnhancer};
use crate::error::Result;
use crate::index::Index;

/// Changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity;

impl QueryEnhancer for Identity {
    fn name(&self) -> &str {
        "identity"
    }

    fn enhance_batch(&self, queries: &[Query], _: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        Ok(queries.iter().map(|query| EnhancedQuery::unchanged(query, "identity")).collect())
    }
}
