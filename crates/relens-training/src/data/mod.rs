//! What rewriters learn from: queries, pictures, candidate rewrites, noise, and a vocabulary of their own.

pub mod candidates;
pub mod corpus;
pub mod hard_queries;
pub mod mixture;
pub mod noise;
pub mod vocabulary;
pub mod writable_vocabulary;

pub use candidates::{CandidateQuery, CandidateRewrite, RewardSource};
pub use corpus::RewritingCorpus;
pub use mixture::{Mixture, MixtureConfig};
