//! HEIC, HEIF and AVIF, as phones store photographs: taken apart by libheif where relens is built with the feature `heif`,
//! else by libheif's own program, or by `ffmpeg`.

use std::path::Path;

use relens_models::image_preprocessing::{DecodeLimits, RgbImage};
use relens_models::{ModelError, regular_file};

use crate::error::{Error, Result};

/// The picture, upright: whoever decodes it applies its rotation.
///
/// # Errors
/// [`Error::Video`] if it cannot be decoded, or if nothing is there that could; a picture larger than the limits.
pub(crate) fn read(path: &Path) -> Result<RgbImage> {
    let limits = DecodeLimits::of_process();
    let bytes = regular_file::read_at_most(path, limits.max_file_bytes)?;
    check_extents(path, &bytes, &limits)?;
    #[cfg(feature = "heif")]
    return library::decode(path, &bytes);
    #[cfg(not(feature = "heif"))]
    program::decode(path)
}

/// Refuses a picture that says of itself, or of a part, that it is larger than the limits: programs of others have
/// limits of their own, or none.
fn check_extents(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<()> {
    for (width, height) in extents(bytes) {
        if width.saturating_mul(height) > limits.max_pixels {
            let source_name = path.display().to_string();
            let max_pixels = limits.max_pixels;
            return Err(ModelError::ImageTooLarge { source_name, max_pixels, width, height }.into());
        }
    }
    Ok(())
}

/// Width and height of each `ispe` box: its name, version and flags, and two numbers of 32 bits (ISO/IEC 23008-12).
fn extents(bytes: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    bytes.windows(16).filter(|window| window.starts_with(b"ispe")).filter_map(|window| {
        let number =
            |at: usize| window.get(at..)?.first_chunk().map(|bytes| u64::from(u32::from_be_bytes(*bytes)));
        Some((number(8)?, number(12)?))
    })
}

fn refused(path: &Path, reason: String) -> Error {
    Error::Video { path: path.to_owned(), reason }
}

#[cfg(feature = "heif")]
mod library {
    //! By libheif.

    use libheif_rs::{ColorSpace, DecodingOptions, HeifContext, HeifError, LibHeif, RgbChroma};
    use relens_models::image_preprocessing::to_rgb;

    use super::{Path, Result, RgbImage, refused};

    /// Bytes of a pixel with transparency.
    const BYTES_PER_PIXEL: usize = 4;

    pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<RgbImage> {
        let (width, height, pixels) =
            pixels(bytes).map_err(|error| refused(path, format!("libheif cannot read it: {error}")))?;
        let picture = image::RgbaImage::from_raw(width, height, pixels);
        let picture =
            picture.ok_or_else(|| refused(path, "libheif gives fewer pixels than it says".to_owned()))?;
        Ok(to_rgb(image::DynamicImage::ImageRgba8(picture)))
    }

    /// Width, height, and red, green, blue and alpha of each pixel, row by row.
    fn pixels(bytes: &[u8]) -> Result<(u32, u32, Vec<u8>), HeifError> {
        let library = LibHeif::new_checked()?;
        let context = HeifContext::read_from_bytes(bytes)?;
        let handle = context.primary_image_handle()?;
        let options = DecodingOptions::new().map(|mut options| {
            options.set_convert_hdr_to_8bit(true);
            options
        });
        let picture = library.decode(&handle, ColorSpace::Rgb(RgbChroma::Rgba), options)?;
        let planes = picture.planes();
        let Some(plane) = planes.interleaved else { return Ok((0, 0, Vec::new())) };
        let row = plane.width as usize * BYTES_PER_PIXEL;
        // Rows are padded.
        let rows = plane.data.chunks(plane.stride.max(1)).take(plane.height as usize);
        let pixels = rows.flat_map(|padded| padded.get(..row).unwrap_or_default()).copied().collect();
        Ok((plane.width, plane.height, pixels))
    }
}

#[cfg(not(feature = "heif"))]
mod program {
    //! By a program of others.

    use std::ffi::OsString;
    use std::process::Command;

    use relens_models::image_preprocessing::decode_image;

    use super::{Path, Result, RgbImage, refused};
    use crate::pictures::external_program::{self, HeifDecoder};

    const REMEDY: &str = "install it, build relens with `--features heif`, or convert the picture to JPEG";

    pub(super) fn decode(path: &Path) -> Result<RgbImage> {
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
        if !outcome.succeeded {
            let messages: String = outcome.messages.trim().chars().take(300).collect();
            return Err(refused(path, format!("{program} cannot read it: {messages}")));
        }
        // Of a file with several pictures, libheif's program numbers them.
        let first = [decoded, directory.path().join("picture-1.png")].into_iter().find(|file| file.is_file());
        let first = first.ok_or_else(|| refused(path, format!("{program} finds no picture in it")))?;
        Ok(decode_image(first)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by tools/reference/make_heif_fixtures.py: red above, blue below.
    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/heif").join(name)
    }

    #[test]
    fn a_bomb_is_refused_by_what_it_says_of_itself() {
        let mut bytes = fs_err::read(fixture("upright.heic")).unwrap();
        assert_eq!(extents(&bytes).collect::<Vec<_>>(), [(64, 64)]);
        let at = bytes.windows(4).position(|window| window == b"ispe").unwrap();
        bytes[at + 8..at + 16].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bomb.heic");
        fs_err::write(&path, &bytes).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("found 65536 × 65536"), "{message}");
    }

    #[cfg(feature = "heif")]
    #[test]
    fn pictures_of_phones_are_read_upright() {
        let is = |pixel: [u8; 3], colour: [u8; 3]| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 40);
        for name in ["upright.heic", "ten-bit.heic", "upright.avif"] {
            // A libheif without a decoder for AV1 says so.
            let picture = match read(&fixture(name)) {
                Err(error) if name.ends_with("avif") => {
                    eprintln!("skipped: {error}");
                    continue;
                }
                picture => picture.unwrap(),
            };
            assert_eq!(picture.dimensions(), (64, 64), "{name}");
            let (above, below) = (picture[(32, 8)].0, picture[(32, 56)].0);
            assert!(is(above, [220, 30, 30]) && is(below, [30, 30, 220]), "{name}: {above:?} {below:?}");
        }
        let clear = read(&fixture("transparent.heic")).unwrap();
        assert!(is(clear[(32, 8)].0, [255; 3]), "laid on white: {:?}", clear[(32, 8)]);
    }

    #[cfg(feature = "heif")]
    #[test]
    fn damaged_pictures_of_phones_are_refused_by_name() {
        let whole = fs_err::read(fixture("upright.heic")).unwrap();
        let directory = tempfile::tempdir().unwrap();
        for length in (0..whole.len()).step_by(29) {
            let path = directory.path().join("cut.heic");
            fs_err::write(&path, &whole[..length]).unwrap();
            let message = read(&path).unwrap_err().to_string();
            assert!(message.contains("cut.heic"), "{message}");
        }
    }
}
