//! Reading pictures that anybody may have made.

use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::{jpeg, rgb};
use crate::{ModelError, Result};

/// Working memory that a decoder may use beside the picture itself.
const DECODER_OVERHEAD_BYTES: u64 = 64 << 20;

/// The widest pixel that a decoder hands out: four channels of 16 bits, twice for its own copy.
const BYTES_PER_PIXEL: u64 = 16;

/// How large a picture may be. What exceeds a limit is refused before memory is set aside for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width × height. Default: 100 million.
    pub max_pixels: u64,
    /// Size of the file. Default: 512 MiB.
    pub max_file_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: 100_000_000, max_file_bytes: 512 << 20 }
    }
}

impl DecodeLimits {
    pub(super) fn check_dimensions(&self, width: u64, height: u64) -> Result<(), String> {
        if width == 0 || height == 0 {
            return Err(format!("expected at least one pixel, found {width} × {height}"));
        }
        if width.saturating_mul(height) > self.max_pixels {
            return Err(format!("expected at most {} pixels, found {width} × {height}", self.max_pixels));
        }
        Ok(())
    }

    pub(super) fn for_decoder(&self) -> Limits {
        let mut limits = Limits::default();
        let picture = self.max_pixels.saturating_mul(BYTES_PER_PIXEL);
        limits.max_alloc = Some(picture.saturating_add(DECODER_OVERHEAD_BYTES));
        limits
    }
}

/// Reads a picture with the default [`DecodeLimits`].
///
/// The format is told by the content, not by the file's name; of an animation, the first frame is read. The
/// result is upright (the EXIF orientation is applied) and RGB as Pillow's `convert("RGB")` makes it: alpha is
/// dropped, palettes are looked up, 16-bit channels keep their high byte.
///
/// # Errors
/// [`ModelError::Io`] if the file cannot be read; [`ModelError::Image`], naming the path, if it is empty,
/// truncated, too large, or no picture.
pub fn decode_image(path: impl AsRef<Path>) -> Result<RgbImage> {
    decode_image_within(path, &DecodeLimits::default())
}

/// Reads a picture as [`decode_image`] does, with limits of the caller's choice.
///
/// # Errors
/// As [`decode_image`].
pub fn decode_image_within(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<RgbImage> {
    let path = path.as_ref();
    decode_image_bytes(&read_within(path, limits)?, &path.to_string_lossy(), limits)
}

/// The content of a file, if it is a file and within the limits.
pub(super) fn read_within(path: &Path, limits: &DecodeLimits) -> Result<Vec<u8>> {
    let name = path.to_string_lossy();
    let file = fs_err::File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refused(&name, "expected a file, found a directory or a device"));
    }
    if metadata.len() > limits.max_file_bytes {
        return Err(file_too_large(&name, metadata.len(), limits));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // A file that grows while it is read must not get past the limit.
    file.take(limits.max_file_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Decodes a picture that is in memory, as [`decode_image`] does; `source_name` says in errors where it came from.
///
/// # Errors
/// [`ModelError::Image`] if the bytes are empty, truncated, too large, or no picture.
pub fn decode_image_bytes(bytes: &[u8], source_name: &str, limits: &DecodeLimits) -> Result<RgbImage> {
    if bytes.is_empty() {
        return Err(refused(source_name, "expected a picture, found an empty file"));
    }
    if bytes.len() as u64 > limits.max_file_bytes {
        return Err(file_too_large(source_name, bytes.len() as u64, limits));
    }
    let format = match image::guess_format(bytes) {
        Ok(format) => format,
        Err(_) if has_extension(source_name, "tga") => ImageFormat::Tga,
        Err(_) => return Err(refused(source_name, "not a picture in a format that can be read")),
    };
    // Decoders are other people's code reading strangers' bytes: a panic in one must cost one picture, not the run.
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, limits),
        _ => decode_other(bytes, format, limits),
    }));
    let (mut picture, orientation) = decoded
        .unwrap_or_else(|_| Err("the decoder failed on malformed data".to_string()))
        .map_err(|reason| refused(source_name, &format!("{}: {reason}", format_name(format))))?;
    if orientation != Orientation::NoTransforms {
        let mut dynamic = DynamicImage::ImageRgb8(picture);
        dynamic.apply_orientation(orientation);
        picture = dynamic.into_rgb8();
    }
    Ok(picture)
}

fn decode_other(
    bytes: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<(RgbImage, Orientation), String> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.for_decoder());
    let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    limits.check_dimensions(u64::from(width), u64::from(height))?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    Ok((rgb::to_rgb(picture), orientation))
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn format_name(format: ImageFormat) -> String {
    format!("{format:?}").to_uppercase()
}

pub(super) fn refused(source_name: &str, reason: &str) -> ModelError {
    ModelError::Image { source_name: source_name.to_string(), reason: reason.to_string() }
}

fn file_too_large(source_name: &str, bytes: u64, limits: &DecodeLimits) -> ModelError {
    refused(source_name, &format!("expected at most {} bytes, found {bytes}", limits.max_file_bytes))
}
