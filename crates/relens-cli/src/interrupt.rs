//! Ctrl-C: the first asks long work to stop where nothing is lost, the second ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The exit code of a program that a signal ended, as shells write it: 128 + SIGINT.
const ENDED_BY_INTERRUPT: i32 = 130;

/// From now on Ctrl-C (and, on Unix, SIGTERM) is remembered instead of ending the program.
///
/// Only commands that look at [`requested`] call this: everything else should end at once, as usual.
pub(crate) fn watch() {
    let installed = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(ENDED_BY_INTERRUPT);
        }
        crate::progress::print_line("stopping after the current step; press Ctrl-C again to stop at once");
    });
    if let Err(error) = installed {
        tracing::debug!("Ctrl-C keeps its usual effect: {error}");
    }
}

/// Whether the user has asked to stop.
pub(crate) fn requested() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
