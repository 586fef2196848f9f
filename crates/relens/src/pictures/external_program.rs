//! Programs of others that take apart what is not decoded here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// A program that decodes HEIC, HEIF and AVIF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeifDecoder {
    /// Of libheif; older versions call it `heif-convert`, newer ones `heif-dec`.
    Libheif(&'static str),
    /// Reads what its version was built for.
    Ffmpeg,
}

/// Where a program lies on the PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// The program that is there.
pub(crate) fn heif_decoder() -> Option<HeifDecoder> {
    let libheif = ["heif-convert", "heif-dec"].into_iter().find(|name| find(name).is_some());
    libheif.map(HeifDecoder::Libheif).or_else(|| find("ffmpeg").map(|_| HeifDecoder::Ffmpeg))
}

/// What a program did.
pub(crate) struct Outcome {
    pub(crate) succeeded: bool,
    /// What it wrote to standard error.
    pub(crate) messages: String,
}

/// Runs a program for the file at `path`; `remedy` says what to do where it is not installed.
///
/// # Errors
/// [`Error::Video`] if it cannot be run.
pub(crate) fn run(command: &mut Command, path: &Path, remedy: &str) -> Result<Outcome> {
    let refused = |reason: String| Error::Video { path: path.to_owned(), reason };
    let name = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output() {
        Ok(output) => Ok(Outcome {
            succeeded: output.status.success(),
            messages: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(refused(format!("expected the program `{name}` on the PATH, found none; {remedy}")))
        }
        Err(error) => Err(refused(format!("{name} cannot be run: {error}"))),
    }
}
