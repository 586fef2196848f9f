//! The parts of a dataset that are kept apart.

use std::fmt;

/// The part of a dataset that a picture belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Split {
    /// For training.
    Train,
    /// Karpathy's remainder of the COCO validation pictures: commonly added to the training split.
    RestVal,
    /// For choosing settings and checkpoints.
    Val,
    /// For the one final measurement.
    Test,
    /// Another name that the annotations use.
    Named(String),
    /// The annotations have no splits.
    Unassigned,
}

impl Split {
    /// The split that annotations call `name`; `dev` and `validation` are other words for `val`.
    pub fn from_name(name: &str) -> Self {
        match name {
            "train" => Self::Train,
            "restval" => Self::RestVal,
            "val" | "dev" | "validation" => Self::Val,
            "test" => Self::Test,
            other => Self::Named(other.to_owned()),
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Train => "train",
            Self::RestVal => "restval",
            Self::Val => "val",
            Self::Test => "test",
            Self::Named(name) => name,
            Self::Unassigned => "all",
        })
    }
}
