//! The query as it is: the baseline.

use super::{EnhancedQuery, Query, QueryEnhancer};
use crate::error::Result;

/// Changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity;

impl QueryEnhancer for Identity {
    fn name(&self) -> &str {
        "identity"
    }

    fn enhance(&self, query: &Query) -> Result<EnhancedQuery> {
        Ok(EnhancedQuery::unchanged(query, "identity"))
    }
}
