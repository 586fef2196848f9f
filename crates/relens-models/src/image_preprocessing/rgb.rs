//! Any kind of pixel to 8-bit RGB, as Pillow's `convert("RGB")` does it.

use image::{DynamicImage, ImageBuffer, Luma, LumaA, Pixel, Rgb, RgbImage, Rgba};

/// Drops alpha without blending, repeats grey, keeps the high byte of 16 bits.
///
/// Pillow clips 16-bit *grey* at 255 instead, which turns nearly all of it white; here it is scaled like colour.
pub(super) fn to_rgb(picture: DynamicImage) -> RgbImage {
    match picture {
        DynamicImage::ImageRgb8(picture) => picture,
        DynamicImage::ImageLuma8(picture) => map(&picture, |Luma([grey])| [grey; 3]),
        DynamicImage::ImageLumaA8(picture) => map(&picture, |LumaA([grey, _])| [grey; 3]),
        DynamicImage::ImageRgba8(picture) => map(&picture, |Rgba([red, green, blue, _])| [red, green, blue]),
        DynamicImage::ImageLuma16(picture) => map(&picture, |Luma([grey])| [high_byte(grey); 3]),
        DynamicImage::ImageLumaA16(picture) => map(&picture, |LumaA([grey, _])| [high_byte(grey); 3]),
        DynamicImage::ImageRgb16(picture) => map(&picture, |Rgb(channels)| channels.map(high_byte)),
        DynamicImage::ImageRgba16(picture) => {
            map(&picture, |Rgba([red, green, blue, _])| [red, green, blue].map(high_byte))
        }
        other => other.into_rgb8(),
    }
}

fn high_byte(value: u16) -> u8 {
    value.to_be_bytes()[0]
}

fn map<P: Pixel>(picture: &ImageBuffer<P, Vec<P::Subpixel>>, convert: impl Fn(P) -> [u8; 3]) -> RgbImage {
    let mut converted = RgbImage::new(picture.width(), picture.height());
    for (to, from) in converted.pixels_mut().zip(picture.pixels()) {
        *to = Rgb(convert(*from));
    }
    converted
}
