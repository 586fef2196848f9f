//! JPEG, the format of nearly every photograph: decoded in one pass, and refused when it breaks off.
//!
//! What is larger than the limit is decoded at a half, a quarter or an eighth of its sides, as the blocks of the format
//! allow without the whole picture in memory.

use image::RgbImage;
use image::metadata::Orientation;
use jpeg_decoder::{CodingProcess, Decoder, PixelFormat};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::limits::{DecodeLimits, Refusal};

const START_OF_SCAN: u8 = 0xDA;
const END_OF_IMAGE: u8 = 0xD9;

/// Decodes to RGB; the orientation is reported, not applied.
pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<(RgbImage, Orientation), Refusal> {
    // A lenient decoder fills what is missing with grey. A file without an end marker is decoded strictly, so
    // that it passes only if nothing but the marker is missing; the rest of what strictness refuses is harmless.
    let options = DecoderOptions::default()
        .set_strict_mode(!has_end_of_image(bytes))
        // The limit is on the area, which is checked below; the library's limits are on the sides.
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| describe(&error))?;
    let info = decoder.info().ok_or("no frame header")?;
    let orientation = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif))
        .unwrap_or(Orientation::NoTransforms);
    let size = (u64::from(info.width), u64::from(info.height));
    match limits.check_dimensions(size.0, size.1) {
        Err(Refusal::TooLarge(..)) => return Ok((decode_reduced(bytes, size, limits)?, orientation)),
        checked => checked?,
    }
    let pixels = decoder.decode().map_err(|error| describe(&error))?;
    let image = RgbImage::from_raw(u32::from(info.width), u32::from(info.height), pixels)
        .ok_or("the decoder returned fewer pixels than the header promises")?;
    Ok((image, orientation))
}

/// Bytes of a progressive picture's coefficients, all of which are kept until the last scan: three channels of 16 bits.
const COEFFICIENT_BYTES: u64 = 6;

/// Decodes a picture of `size`, too large as it is, to the first half, quarter or eighth that is within the limits.
fn decode_reduced(bytes: &[u8], size: (u64, u64), limits: &DecodeLimits) -> Result<RgbImage, Refusal> {
    let too_large = || Refusal::TooLarge(size.0, size.1);
    let parts = [2, 4, 8].map(|part| (size.0.div_ceil(part), size.1.div_ceil(part)));
    let (width, height) =
        parts.into_iter().find(|part| limits.allow(part.0, part.1)).ok_or_else(too_large)?;
    // What is missing would be grey. Every block takes a bit at least, so that a header cannot promise much more than there is.
    let blocks = size.0.saturating_mul(size.1) / 64;
    if !has_end_of_image(bytes) || (bytes.len() as u64).saturating_mul(8) < blocks {
        return Err("truncated".into());
    }
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(usize::try_from(limits.max_memory()).unwrap_or(usize::MAX));
    let side = |side: u64| u16::try_from(side).map_err(|_| too_large());
    let describe = |error: jpeg_decoder::Error| format!("truncated or malformed ({error})");
    let (width, height) = decoder.scale(side(width)?, side(height)?).map_err(describe)?;
    let info = decoder.info().ok_or("no frame header")?;
    let coefficients = size.0.saturating_mul(size.1).saturating_mul(COEFFICIENT_BYTES);
    if info.coding_process != CodingProcess::DctSequential && coefficients > limits.max_memory() {
        return Err(too_large());
    }
    let pixels = decoder.decode().map_err(describe)?;
    let rgb = match info.pixel_format {
        PixelFormat::RGB24 => pixels,
        PixelFormat::L8 => pixels.into_iter().flat_map(|grey| [grey; 3]).collect(),
        PixelFormat::L16 => return Err("lossless, which is not read".into()),
        PixelFormat::CMYK32 => pixels.chunks_exact(4).flat_map(rgb_of_inks).collect(),
    };
    let picture = RgbImage::from_raw(u32::from(width), u32::from(height), rgb);
    picture.ok_or_else(|| "the decoder returned fewer pixels than the header promises".into())
}

/// Red, green and blue of cyan, magenta, yellow and black.
fn rgb_of_inks(inks: &[u8]) -> [u8; 3] {
    let paper = |ink: usize| 255 - u32::from(inks.get(ink).copied().unwrap_or(0));
    [0, 1, 2].map(|ink| u8::try_from(paper(ink) * paper(3) / 255).unwrap_or(u8::MAX))
}

fn describe(error: &zune_jpeg::errors::DecodeErrors) -> String {
    let message = format!("{error:?}");
    format!("truncated or malformed ({})", message.trim_matches('"'))
}

/// Whether an end-of-image marker follows the picture's data (an embedded thumbnail's does not count).
fn has_end_of_image(bytes: &[u8]) -> bool {
    // Behind the start-of-image marker: `FF marker [length payload]`.
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        let Some((marker, after)) = next_marker(rest) else { return false };
        if marker == END_OF_IMAGE {
            return true;
        }
        let Some(length) = after.first_chunk::<2>().map(|length| usize::from(u16::from_be_bytes(*length)))
        else {
            return false;
        };
        let Some(payload_end) = after.get(length.max(2)..) else { return false };
        // Behind a scan's header come its coded data, in which FF is followed by 00 or a restart marker;
        // `next_marker` passes over both.
        rest = payload_end;
        if marker == START_OF_SCAN && rest.is_empty() {
            return false;
        }
    }
}

/// The next marker that is neither filling, an escaped FF, nor a restart, and what follows it.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = bytes;
    loop {
        let position = rest.iter().position(|&byte| byte == 0xFF)?;
        rest = rest.get(position + 1..)?;
        let (&marker, after) = rest.split_first()?;
        match marker {
            0xFF => {}
            0x00 | 0x01 | 0xD0..=0xD8 => rest = after,
            _ => return Some((marker, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedded_thumbnails_end_does_not_count() {
        let thumbnail = [0xFF, 0xE1, 0x00, 0x06, 0xFF, 0xD8, 0xFF, 0xD9];
        let scan = [0xFF, 0xDA, 0x00, 0x02, 0x12, 0xFF, 0x00, 0xFF, 0xD0, 0x34];
        let mut file = vec![0xFF, 0xD8];
        file.extend_from_slice(&thumbnail);
        file.extend_from_slice(&scan);
        assert!(!has_end_of_image(&file));
        file.extend_from_slice(&[0xFF, 0xFF, 0xD9]);
        assert!(has_end_of_image(&file));
    }

    #[test]
    fn lengths_that_run_past_the_end_are_not_followed() {
        assert!(!has_end_of_image(&[0xFF, 0xD8, 0xFF, 0xE0, 0xFF, 0xFF, 0x00]));
        assert!(!has_end_of_image(&[0xFF, 0xD8, 0xFF, 0xE0, 0x00]));
        assert!(!has_end_of_image(&[0xFF]));
        assert!(!has_end_of_image(&[]));
    }
}
