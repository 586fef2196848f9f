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
use super::limits::{DecodeLimits, Refusal, file_too_large, read_within, refused};
use crate::Result;

/// Reads a picture within [`DecodeLimits::of_process`].
///
/// The format is told by the content, not by the file's name; of an animation, the first frame is read. The
/// result is upright (the EXIF orientation is applied) and RGB: a transparent
/// picture is laid on white, palettes are looked up, 16-bit channels keep their high byte.
///
/// # Errors
/// [`crate::ModelError::Io`] if the file cannot be read; [`crate::ModelError::Image`], naming the path, if it is empty,
/// truncated, or no picture; [`crate::ModelError::ImageTooLarge`].
pub fn decode_image(path: impl AsRef<Path>) -> Result<RgbImage> {
    decode_image_within(path, &DecodeLimits::of_process())
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
/// [`crate::ModelError::Image`] if the bytes are empty, truncated, too many, or no picture;
/// [`crate::ModelError::ImageTooLarge`].
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
    let (picture, orientation) = decoded
        .unwrap_or_else(|_| Err("the decoder failed on malformed data".into()))
        .map_err(|refusal| refusal.into_error(source_name, &format!("{}: ", format_name(format)), limits))?;
    Ok(turned(picture, orientation))
}

/// The picture as an EXIF orientation says that it is to be seen: 1 as it is, 2 to 8 mirrored or turned.
pub fn oriented(picture: RgbImage, exif_orientation: u8) -> RgbImage {
    turned(picture, Orientation::from_exif(exif_orientation).unwrap_or(Orientation::NoTransforms))
}

fn turned(picture: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let mut dynamic = DynamicImage::ImageRgb8(picture);
    dynamic.apply_orientation(orientation);
    dynamic.into_rgb8()
}

fn decode_other(
    bytes: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<(RgbImage, Orientation), Refusal> {
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

/// Lays transparent pictures on white, repeats grey, keeps the high byte of 16 bits.
///
/// Pillow drops alpha, which shows colours that nobody sees; a white page is what such pictures are made for. Pillow
/// also clips 16-bit *grey* at 255, which turns nearly all of it white; here it is scaled like colour.
pub fn to_rgb(picture: DynamicImage) -> RgbImage {
    match picture {
        DynamicImage::ImageRgb8(picture) => picture,
        DynamicImage::ImageLuma8(picture) => map(&picture, |Luma([grey])| [grey; 3]),
        DynamicImage::ImageLumaA8(picture) => {
            map(&picture, |LumaA([grey, alpha])| [on_white(grey, alpha); 3])
        }
        DynamicImage::ImageRgba8(picture) => map(&picture, |Rgba([red, green, blue, alpha])| {
            [red, green, blue].map(|channel| on_white(channel, alpha))
        }),
        DynamicImage::ImageLuma16(picture) => map(&picture, |Luma([grey])| [high_byte(grey); 3]),
        DynamicImage::ImageLumaA16(picture) => {
            map(&picture, |LumaA([grey, alpha])| [on_white(high_byte(grey), high_byte(alpha)); 3])
        }
        DynamicImage::ImageRgb16(picture) => map(&picture, |Rgb(channels)| channels.map(high_byte)),
        DynamicImage::ImageRgba16(picture) => map(&picture, |Rgba([red, green, blue, alpha])| {
            [red, green, blue].map(|channel| on_white(high_byte(channel), high_byte(alpha)))
        }),
        DynamicImage::ImageRgba32F(_) => to_rgb(DynamicImage::ImageRgba8(picture.into_rgba8())),
        other => other.into_rgb8(),
    }
}

/// `channel · alpha + white · (1 − alpha)`, rounded.
fn on_white(channel: u8, alpha: u8) -> u8 {
    let (channel, alpha) = (u32::from(channel), u32::from(alpha));
    u8::try_from((channel * alpha + 255 * (255 - alpha) + 127) / 255).unwrap_or(u8::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_colours_never_show() {
        let picture = |pixel: [u8; 4]| {
            let picture = image::RgbaImage::from_pixel(1, 1, Rgba(pixel));
            to_rgb(DynamicImage::ImageRgba8(picture)).get_pixel(0, 0).0
        };
        assert_eq!(picture([200, 0, 7, 0]), [255; 3]);
        assert_eq!(picture([200, 0, 7, 255]), [200, 0, 7]);
        assert_eq!(picture([200, 0, 7, 128]), [227, 127, 131]);
        let grey = image::ImageBuffer::from_pixel(1, 1, LumaA([9u8, 0]));
        assert_eq!(to_rgb(DynamicImage::ImageLumaA8(grey)).get_pixel(0, 0).0, [255; 3]);
        let deep = image::ImageBuffer::from_pixel(1, 1, Rgba([0xffff_u16, 0x1234, 0, 0]));
        assert_eq!(to_rgb(DynamicImage::ImageRgba16(deep)).get_pixel(0, 0).0, [255; 3]);
    }
}
