//! Programs that the system has for files and addresses.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Hands a file or an address to the program that the system has for it, and does not wait for that.
pub(crate) fn open(what: impl AsRef<OsStr>) -> Result<()> {
    let program = match std::env::consts::OS {
        "macos" => "open",
        "windows" => "explorer",
        _ => "xdg-open",
    };
    let what = what.as_ref();
    let mut command = Command::new(program);
    command.arg(what).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = command.spawn().map(drop);
    started.with_context(|| format!("{}: cannot be opened by `{program}`", Path::new(what).display()))
}
