//! Reading pictures that anybody may have made.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{
    DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Luma, LumaA, Pixel, Rgb, RgbImage,
    Rgba,
};

use super::jpeg;
use super::limits::{DecodeLimits, file_too_large, read_within, refused};
use crate::Result;

/// Reads a picture with the default [`DecodeLimits`].
///
/// The format is told by the content, not by the file's name; of an animation, the first frame is read. The
/// result is upright (the EXIF orientation is applied) and RGB as Pillow's `convert("RGB")` makes it: alpha is
/// dropped, palettes are looked up, 16-bit channels keep their high byte.
///
/// # Errors
/// [`crate::ModelError::Io`] if the file cannot be read; [`crate::ModelError::Image`], naming the path, if it is empty,
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

/// Decodes a picture that is in memory, as [`decode_image`] does; `source_name` says in errors where it came from.
///
/// # Errors
/// [`crate::ModelError::Image`] if the bytes are empty, truncated, too large, or no picture.
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
    let (mut image, orientation) = decoded
        .unwrap_or_else(|_| Err("the decoder failed on malformed data".to_string()))
        .map_err(|reason| refused(source_name, &format!("{}: {reason}", format_name(format))))?;
    if orientation != Orientation::NoTransforms {
        let mut dynamic = DynamicImage::ImageRgb8(image);
        dynamic.apply_orientation(orientation);
        image = dynamic.into_rgb8();
    }
    Ok(image)
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
    let image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    Ok((to_rgb(image), orientation))
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn format_name(format: ImageFormat) -> String {
    format!("{format:?}").to_uppercase()
}

/// Drops alpha without blending, repeats grey, keeps the high byte of 16 bits.
///
/// Pillow clips 16-bit *grey* at 255 instead, which turns nearly all of it white; here it is scaled like colour.
pub(super) fn to_rgb(image: DynamicImage) -> RgbImage {
    match image {
        DynamicImage::ImageRgb8(image) => image,
        DynamicImage::ImageLuma8(image) => map(&image, |Luma([grey])| [grey; 3]),
        DynamicImage::ImageLumaA8(image) => map(&image, |LumaA([grey, _])| [grey; 3]),
        DynamicImage::ImageRgba8(image) => map(&image, |Rgba([red, green, blue, _])| [red, green, blue]),
        DynamicImage::ImageLuma16(image) => map(&image, |Luma([grey])| [high_byte(grey); 3]),
        DynamicImage::ImageLumaA16(image) => map(&image, |LumaA([grey, _])| [high_byte(grey); 3]),
        DynamicImage::ImageRgb16(image) => map(&image, |Rgb(channels)| channels.map(high_byte)),
        DynamicImage::ImageRgba16(image) => {
            map(&image, |Rgba([red, green, blue, _])| [red, green, blue].map(high_byte))
        }
        other => other.into_rgb8(),
    }
}

fn high_byte(value: u16) -> u8 {
    value.to_be_bytes()[0]
}

fn map<P: Pixel>(image: &ImageBuffer<P, Vec<P::Subpixel>>, convert: impl Fn(P) -> [u8; 3]) -> RgbImage {
    let mut converted = RgbImage::new(image.width(), image.height());
    for (to, from) in converted.pixels_mut().zip(image.pixels()) {
        *to = Rgb(convert(*from));
    }
    converted
}
