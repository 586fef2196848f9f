//! Errors for a command line that cannot be meant.

use std::fmt::Display;

use clap::error::ErrorKind;

/// An error for a command line that cannot be meant; the program ends with exit status 2.
pub(crate) fn usage_error(message: impl Display) -> anyhow::Error {
    clap::Error::raw(
        ErrorKind::ValueValidation,
        format!("{message}\n\nFor more information, try '--help'.\n"),
    )
    .into()
}
