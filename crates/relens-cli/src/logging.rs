//! Notes on standard error, which never tear a progress bar.

use std::io::Write;

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::{output, progress};

/// Shows warnings; with `verbose` more, with `quiet` errors only and no progress.
pub(crate) fn start(verbose: u8, quiet: bool) {
    progress::set_hidden(quiet);
    let level = match (quiet, verbose) {
        (true, _) => Level::ERROR,
        (false, 0) => Level::WARN,
        (false, 1) => Level::INFO,
        (false, _) => Level::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(verbose > 1)
        .without_time()
        .with_ansi(output::stderr_is_styled())
        .with_writer(BesideProgress)
        .init();
}

/// Writes to standard error with the progress bars out of the way.
#[derive(Debug, Clone, Copy)]
struct BesideProgress;

impl MakeWriter<'_> for BesideProgress {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Write for BesideProgress {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        progress::beside(|| std::io::stderr().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
