//! Training data for rewriters, mined from the retriever's own mistakes.
//!
//! A [`pool::Pool`] holds the pictures that compete; a [`pool::MiningFeedback`] says how the retriever ranks a text among them,
//! many texts at once. [`low_quality::RankedCaptions`] finds the captions that miss their picture. Each strategy turns
//! them into [`record::MinedQuery`] lines.

pub mod acceptance;
pub mod composer;
pub mod conversation;
pub mod engine;
pub mod filters;
pub mod import;
pub mod low_quality;
pub mod pool;
pub mod prompts;
pub mod record;
pub mod run;
pub mod strategy;
pub mod summary;
#[cfg(test)]
mod testing;
