//! Negatives of cameras: the largest JPEG preview inside is the picture.
//!
//! CR2, NEF, ARW, DNG, ORF, RW2 and PEF are TIFF of a kind, RAF and CR3 are not; what they share is that the preview lies
//! in them as a whole JPEG stream. The streams are found by their markers; those with lossless frames, which are the
//! negative itself, are passed over. The orientation is the container's where the preview has none.

use std::io::Cursor;
use std::path::Path;

use relens_models::image_preprocessing::{DecodeLimits, RgbImage, decode_image_bytes, oriented};
use relens_models::regular_file;

use crate::error::{Error, Result};

/// How many streams are looked at: a negative has three previews or so.
const MOST_STREAMS: usize = 64;
/// How a JPEG stream begins.
const START: [u8; 3] = [0xff, 0xd8, 0xff];

/// The preview, upright.
///
/// # Errors
/// The file cannot be read, is too large, or has no preview that can be decoded.
pub(crate) fn read(path: &Path) -> Result<RgbImage> {
    let limits = DecodeLimits::of_process();
    let bytes = regular_file::read_at_most(path, limits.max_file_bytes)?;
    let mut previews = previews(&bytes);
    previews.sort_by_key(|preview| std::cmp::Reverse(preview.pixels));
    let name = path.to_string_lossy();
    for preview in &previews {
        let stream = bytes.get(preview.start..).unwrap_or_default();
        // A stream that is no picture after all gives way to the next largest.
        if let Ok(picture) = decode_image_bytes(stream, &name, &limits) {
            return Ok(match orientation(stream) {
                // It was applied while decoding.
                Some(_) => picture,
                None => oriented(picture, container_orientation(&bytes).unwrap_or(1)),
            });
        }
    }
    Err(Error::Video {
        path: path.to_owned(),
        reason: "expected a camera's negative with a JPEG preview, found none in it".to_owned(),
    })
}

struct Preview {
    start: usize,
    pixels: u64,
}

fn previews(bytes: &[u8]) -> Vec<Preview> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(offset) = bytes.get(from..).and_then(|rest| rest.windows(3).position(|part| part == START))
    {
        let start = from + offset;
        if let Some(pixels) = bytes.get(start + 2..).and_then(frame_pixels) {
            found.push(Preview { start, pixels });
            if found.len() == MOST_STREAMS {
                break;
            }
        }
        from = start + START.len();
    }
    found
}

/// Width × height of a stream's first frame, if it is one that can be decoded: baseline, extended or progressive.
fn frame_pixels(mut segments: &[u8]) -> Option<u64> {
    loop {
        let (&[prefix, marker], rest) = segments.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk::<2>()?));
        match (prefix, marker) {
            (0xff, 0xc0..=0xc2) => {
                let &[_, _, _, high, low, wide, narrow] = rest.first_chunk::<7>()?;
                let (height, width) = (u16::from_be_bytes([high, low]), u16::from_be_bytes([wide, narrow]));
                return Some(u64::from(height) * u64::from(width)).filter(|pixels| *pixels > 0);
            }
            // Tables, application data and comments come before the frame.
            (0xff, 0xc4 | 0xcc | 0xdb | 0xdd | 0xe0..=0xef | 0xfe) if length >= 2 => {
                segments = rest.get(length..)?;
            }
            _ => return None,
        }
    }
}

/// The EXIF orientation of a picture in memory, 1 to 8.
fn orientation(bytes: &[u8]) -> Option<u8> {
    of_exif(&exif::Reader::new().read_from_container(&mut Cursor::new(bytes)).ok()?)
}

/// That of the negative. CR3 keeps a TIFF of its own in a box called `CMT1`.
fn container_orientation(bytes: &[u8]) -> Option<u8> {
    let tiff = match bytes.windows(4).take(1 << 20).position(|name| name == b"CMT1") {
        Some(position) if bytes.get(4..8) == Some(b"ftyp") => bytes.get(position + 4..)?,
        _ => bytes,
    };
    // The other kinds of TIFF have a number of their own in the place of 42.
    let mut tiff = tiff.to_vec();
    let order: [u8; 2] = tiff.first_chunk().copied()?;
    let number = if &order == b"II" { [42, 0] } else { [0, 42] };
    tiff.get_mut(2..4)?.copy_from_slice(&number);
    of_exif(&exif::Reader::new().read_raw(tiff).ok()?)
}

fn of_exif(exif: &exif::Exif) -> Option<u8> {
    let field = exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY)?;
    field.value.get_uint(0).and_then(|value| u8::try_from(value).ok()).filter(|value| (1..=8).contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(width: u32, height: u32, color: [u8; 3]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::from_pixel(width, height, color.into())
            .write_to(&mut bytes, image::ImageFormat::Jpeg)
            .unwrap();
        bytes.into_inner()
    }

    /// A TIFF whose one field is the orientation.
    fn tiff(magic: [u8; 2], orientation: u8) -> Vec<u8> {
        let field = [0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
        [&b"II"[..], &magic, &[8, 0, 0, 0, 1, 0], &field, &[0; 4]].concat()
    }

    #[test]
    fn the_largest_preview_is_the_picture_and_stands_upright() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.orf");
        let lossless = [0xff, 0xd8, 0xff, 0xc3, 0, 11, 8, 0xff, 0xff, 0xff, 0xff, 1, 1, 0x11, 0];
        let negative = [
            tiff(*b"RO", 6),
            jpeg(8, 8, [0, 0, 255]),
            lossless.to_vec(),
            jpeg(64, 32, [255, 0, 0]),
            vec![7; 99],
        ];
        fs_err::write(&path, negative.concat()).unwrap();
        let picture = read(&path).unwrap();
        assert_eq!(picture.dimensions(), (32, 64));
        assert!(picture.get_pixel(5, 5)[0] > 200);
        fs_err::write(&path, [tiff([42, 0], 1), vec![0xff, 0xd8, 0xff, 0xc0, 0, 3]].concat()).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(
            message.ends_with("a.orf: expected a camera's negative with a JPEG preview, found none in it")
        );
    }
}
