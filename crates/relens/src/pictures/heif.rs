//! HEIC, HEIF and AVIF, as phones store photographs: taken apart by libheif's own program, or by `ffmpeg`.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use relens_models::image_preprocessing::{RgbImage, decode_image};
use relens_models::regular_file;

use crate::error::{Error, Result};
use crate::pictures::external_program::{self, HeifDecoder};

const REMEDY: &str = "install it, or convert the picture to JPEG";

/// The picture, upright: both programs apply its rotation.
///
/// # Errors
/// [`Error::Video`] without such a program, or if it fails; those of decoding.
pub(crate) fn read(path: &Path) -> Result<RgbImage> {
    // What never ends must not be handed on.
    drop(regular_file::open(path)?);
    let decoder = external_program::heif_decoder();
    let directory = tempfile::tempdir()?;
    let decoded = directory.path().join("picture.png");
    let mut command = match decoder {
        Some(HeifDecoder::Libheif(program)) => {
            let mut command = Command::new(program);
            // A path that begins with a dash is no option, which `--` would not be either in older versions.
            command.arg(std::path::absolute(path)?).arg(&decoded);
            command
        }
        Some(HeifDecoder::Ffmpeg) | None => {
            let mut input = OsString::from("file:");
            input.push(path);
            let mut command = Command::new("ffmpeg");
            command.args(["-nostdin", "-hide_banner", "-v", "error", "-i"]).arg(input);
            command.args(["-frames:v", "1"]).arg(&decoded);
            command
        }
    };
    let program = command.get_program().to_string_lossy().into_owned();
    let outcome = external_program::run(&mut command, path, REMEDY)?;
    let refused = |reason: String| Error::Video { path: path.to_owned(), reason };
    if !outcome.succeeded {
        let told: String = outcome.told.trim().chars().take(300).collect();
        return Err(refused(format!("{program} cannot read it: {told}")));
    }
    // Of a file with several pictures, libheif's program numbers them.
    let first = [decoded, directory.path().join("picture-1.png")].into_iter().find(|file| file.is_file());
    let first = first.ok_or_else(|| refused(format!("{program} finds no picture in it")))?;
    Ok(decode_image(first)?)
}
