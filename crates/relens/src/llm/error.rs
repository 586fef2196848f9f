//! What can keep a request from being answered.

use crate::counted::counted;
use std::path::PathBuf;

/// Why there is no reply. No variant ever holds the key.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LlmError {
    /// A setting cannot be used.
    #[error("language model: setting `{field}` is {found}, expected {expected}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// What may stand there.
        expected: String,
        /// What stands there.
        found: String,
    },

    /// The user stopped the work.
    #[error("stopped; replies that came before are recorded")]
    Cancelled,

    /// The next request could cost more than the budget has left.
    #[error(
        "the budget is reached: {spent} of {limit} {unit} are spent; replies that came before are recorded"
    )]
    BudgetReached {
        /// What was spent so far, with what requests on their way may cost.
        spent: String,
        /// The limit.
        limit: String,
        /// `tokens`, or what the prices are in.
        unit: &'static str,
    },

    /// The endpoint does not accept the key, or no longer.
    #[error("the endpoint refuses the key (status {status}): {message}")]
    KeyRefused {
        /// The HTTP status.
        status: u16,
        /// What the endpoint said.
        message: String,
    },

    /// The endpoint does not accept this request; another one it may.
    #[error("{label}: the endpoint refuses the request (status {status}): {message}")]
    Rejected {
        /// What was asked for.
        label: String,
        /// The HTTP status.
        status: u16,
        /// What the endpoint said.
        message: String,
    },

    /// No attempt brought a whole reply.
    #[error("{label}: no reply after {}; the last one: {last}", counted(*attempts, "attempt"))]
    NoReply {
        /// What was asked for.
        label: String,
        /// How often it was tried.
        attempts: u32,
        /// How the last one failed.
        last: String,
    },

    /// So many requests failed one after the other that asking on makes no sense.
    #[error("{} failed one after the other; the last one: {last}", counted(*failures, "request"))]
    GivenUp {
        /// How many.
        failures: u32,
        /// How the last one failed.
        last: String,
    },

    /// Only recorded replies are allowed, and there is none.
    #[error("{label}: no recorded reply: {reason}")]
    NotRecorded {
        /// What was asked for.
        label: String,
        /// Whether it was never asked, or something that decides the reply has changed since.
        reason: String,
    },

    /// A picture to be shown cannot be read.
    #[error("{path}: the picture cannot be shown to the model: {reason}")]
    Picture {
        /// The picture.
        path: PathBuf,
        /// Why.
        reason: String,
    },

    /// A reply cannot be recorded; without that nothing more is asked.
    #[error("replies cannot be recorded: {reason}")]
    Store {
        /// Why.
        reason: String,
    },
}

impl LlmError {
    /// Whether no other request has a chance either.
    pub fn is_final(&self) -> bool {
        !matches!(
            self,
            Self::Rejected { .. } | Self::NoReply { .. } | Self::NotRecorded { .. } | Self::Picture { .. }
        )
    }
}

impl From<crate::error::Error> for LlmError {
    fn from(error: crate::error::Error) -> Self {
        Self::Store { reason: error.to_string() }
    }
}
