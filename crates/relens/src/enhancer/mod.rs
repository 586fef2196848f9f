//! From what people type to what the retriever reads.
//!
//! A [`QueryEnhancer`] turns each [`Query`] into an [`EnhancedQuery`]: texts with weights, a [`Combination`] and a trace
//! of why. [`Identity`] is the baseline that every other enhancer is compared with; each of the others is a method of
//! the literature, in a file of its own together with what it can be set to. [`mod@open`] opens them by name.
//!
//! What happens before and after an enhancer is no enhancer: spelling, the neighbours of an embedding, hubs and the
//! search itself are steps of the [pipeline](crate::ranking::pipeline).

pub mod arithmetic;
pub mod baselines;
mod combination;
pub mod composer;
pub mod descriptions;
mod enhanced_query;
pub mod ensemble;
pub mod entity_finder;
pub mod exclusion;
pub mod identity;
pub mod mix;
pub mod open;
mod query;
pub mod refinement;
pub mod rewriter;
pub mod spelling;
mod trace;

pub use combination::Combination;
pub use enhanced_query::{EnhancedQuery, WeightedText};
pub use identity::Identity;
pub use query::{LONGEST_QUERY, Query};
pub use refinement::{RefineEmbeddings, Refinement};
pub use trace::TraceEntry;

use crate::error::Result;
use crate::index::Index;

/// Turns queries into texts for the retriever.
///
/// For image→text search the candidates' captions are enhanced, each as a query.
pub trait QueryEnhancer: Send + Sync {
    /// What `--enhancer` calls it.
    fn name(&self) -> &str;

    /// Enhances queries, in order: as many answers as queries, and each as if its query were alone.
    ///
    /// `images` are the vectors of the pictures that will be searched, where they are known: an enhancer may look at
    /// what its texts would find.
    ///
    /// # Errors
    /// [`Error::Enhancer`](crate::error::Error::Enhancer) with the reason: one failure fails all.
    fn enhance_batch(&self, queries: &[Query], images: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>>;
}

/// What an enhancer makes of one text.
#[cfg(test)]
pub(crate) fn enhance_text(enhancer: &dyn QueryEnhancer, text: &str) -> EnhancedQuery {
    enhancer.enhance_batch(&[Query::new(text).unwrap()], None).unwrap().remove(0)
}
