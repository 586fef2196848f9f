//! The frames of animated GIF and WebP files.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, DynamicImage, Frames, ImageDecoder, ImageFormat, RgbImage};

use super::decode::to_rgb;
use super::limits::{DecodeLimits, Refusal, read_within};
use crate::Result;

/// Frames that are looked at; what comes after them is left out.
const MOST_FRAMES: usize = 10_000;

/// `count` frames of an animation, spread evenly from its first to its last; all of them if it has fewer. `None` if
/// the file is no animation: another format, or one frame alone.
///
/// # Errors
/// [`crate::ModelError::Io`] if the file cannot be read; [`crate::ModelError::Image`], naming it, if it is damaged;
/// [`crate::ModelError::ImageTooLarge`].
pub fn decode_animation(
    path: impl AsRef<Path>,
    count: usize,
    limits: &DecodeLimits,
) -> Result<Option<Vec<RgbImage>>> {
    let path = path.as_ref();
    let name = path.to_string_lossy();
    let bytes = read_within(path, limits)?;
    let Ok(format @ (ImageFormat::Gif | ImageFormat::WebP)) = image::guess_format(&bytes) else {
        return Ok(None);
    };
    // As with pictures: a panic in a decoder must cost one file, not the run.
    let decoded = catch_unwind(AssertUnwindSafe(|| sampled_frames(&bytes, format, count, limits)));
    decoded
        .unwrap_or_else(|_| Err("the decoder failed on malformed data".into()))
        .map_err(|refusal| refusal.into_error(&name, "", limits))
}

fn sampled_frames(
    bytes: &[u8],
    format: ImageFormat,
    count: usize,
    limits: &DecodeLimits,
) -> Result<Option<Vec<RgbImage>>, Refusal> {
    // Frames are composed one on the other, so that the second pass decodes all of them again; keeping every frame
    // of the first would cost more memory than most animations are worth.
    let mut total = 0;
    for frame in frames(bytes, format, limits)?.take(MOST_FRAMES) {
        match frame {
            Ok(_) => total += 1,
            // What a cut file still shows is shown.
            Err(error) if total == 0 => return Err(error.to_string().into()),
            Err(_) => break,
        }
    }
    if total <= 1 {
        return Ok(None);
    }
    let positions = uniform_positions(total, count);
    let mut chosen = Vec::with_capacity(positions.len());
    for (position, frame) in frames(bytes, format, limits)?.take(total).enumerate() {
        let frame = frame.map_err(|error| error.to_string())?;
        if positions.contains(&position) {
            chosen.push(to_rgb(DynamicImage::ImageRgba8(frame.into_buffer())));
        }
    }
    Ok(Some(chosen))
}

fn frames<'a>(bytes: &'a [u8], format: ImageFormat, limits: &DecodeLimits) -> Result<Frames<'a>, Refusal> {
    fn checked<'a, D: ImageDecoder + AnimationDecoder<'a>>(
        mut decoder: D,
        limits: &DecodeLimits,
    ) -> Result<Frames<'a>, Refusal> {
        let (width, height) = decoder.dimensions();
        limits.check_dimensions(u64::from(width), u64::from(height))?;
        decoder.set_limits(limits.for_decoder()).map_err(|error| error.to_string())?;
        Ok(decoder.into_frames())
    }
    let reader = Cursor::new(bytes);
    match format {
        ImageFormat::Gif => checked(GifDecoder::new(reader).map_err(|error| error.to_string())?, limits),
        _ => checked(WebPDecoder::new(reader).map_err(|error| error.to_string())?, limits),
    }
}

/// `count` of `total` positions, the first and the last among them, rounded down as NumPy's integer `linspace`; all if
/// there are no more.
pub fn uniform_positions(total: usize, count: usize) -> Vec<usize> {
    if total <= count {
        return (0..total).collect();
    }
    let steps = count.saturating_sub(1).max(1);
    (0..count).map(|step| step * (total - 1) / steps).collect()
}
