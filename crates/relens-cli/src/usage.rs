//! Errors for a wrong use of the command line.

use std::fmt::Display;

use clap::error::ErrorKind;

/// An error for a wrong use of the command line: the program prints it and ends with exit status 2.
pub(crate) fn usage_error(message: impl Display) -> anyhow::Error {
    clap::Error::raw(
        ErrorKind::ValueValidation,
        format!("{message}\n\nFor more information, try '--help'.\n"),
    )
    .into()
}
