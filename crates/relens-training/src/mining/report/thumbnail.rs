//! Small copies of pictures, inside the page.

use std::io::Cursor;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use relens_models::image_preprocessing::decode_image;

/// The longer side in pixels.
const SIDE: u32 = 360;
const QUALITY: u8 = 75;

/// The picture as a `data:` address, or none if it cannot be read: a report is worth having without it.
pub(super) fn data_url(path: &Path) -> Option<String> {
    let picture = decode_image(path).inspect_err(|error| tracing::debug!("{error}")).ok()?;
    let small = image::DynamicImage::ImageRgb8(picture).thumbnail(SIDE, SIDE);
    let mut bytes = Cursor::new(Vec::new());
    small.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY)).ok()?;
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes.into_inner())))
}
