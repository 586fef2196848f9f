//! A sheet to draw on: rectangles, pictures, and letters of Noto Sans Mono.

use image::{Rgb, RgbImage, imageops};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use relens::explanation::heat::{Color, WHITE, mixed};

pub(super) const BLACK: Color = Rgb([20, 20, 20]);
pub(super) const GREY: Color = Rgb([110, 110, 110]);

/// A place on the sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) x: u32,
    pub(super) y: u32,
}

/// The two sizes of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lettering {
    Small,
    Large,
}

impl Lettering {
    fn raster(self) -> RasterHeight {
        match self {
            Self::Small => RasterHeight::Size16,
            Self::Large => RasterHeight::Size20,
        }
    }

    /// The height of a line.
    pub(super) fn height(self) -> u32 {
        match self {
            Self::Small => 16,
            Self::Large => 20,
        }
    }

    /// The width of a letter; all are equal.
    pub(super) fn width(self) -> u32 {
        get_raster_width(FontWeight::Regular, self.raster()) as u32
    }

    /// The width of a text.
    pub(super) fn width_of(self, text: &str) -> u32 {
        self.width() * text.chars().count() as u32
    }
}

/// The sheet.
pub(super) struct Canvas {
    image: RgbImage,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self { image: RgbImage::from_pixel(width, height, WHITE) }
    }

    pub(super) fn into_image(self) -> RgbImage {
        self.image
    }

    pub(super) fn fill(&mut self, place: Place, (width, height): (u32, u32), color: Color) {
        for y in place.y..place.y + height {
            for x in place.x..place.x + width {
                self.blend(x, y, color, 255);
            }
        }
    }

    pub(super) fn paste(&mut self, picture: &RgbImage, place: Place) {
        imageops::replace(&mut self.image, picture, i64::from(place.x), i64::from(place.y));
    }

    /// Writes one line. A letter that the font does not have becomes an empty box.
    pub(super) fn write(&mut self, text: &str, place: Place, lettering: Lettering, color: Color) {
        for (position, letter) in (0u32..).zip(text.chars()) {
            let x = place.x + position * lettering.width();
            match get_raster(letter, FontWeight::Regular, lettering.raster()) {
                Some(glyph) => {
                    for (dy, row) in (0u32..).zip(glyph.rows()) {
                        for (dx, &coverage) in (0u32..).zip(row) {
                            self.blend(x + dx, place.y + dy, color, coverage);
                        }
                    }
                }
                None => self.draw_box(Place { x, y: place.y }, lettering, color),
            }
        }
    }

    fn draw_box(&mut self, place: Place, lettering: Lettering, color: Color) {
        let (right, bottom) = (place.x + lettering.width() - 2, place.y + lettering.height() - 4);
        for x in place.x + 1..=right {
            self.blend(x, place.y + 3, color, 255);
            self.blend(x, bottom, color, 255);
        }
        for y in place.y + 3..=bottom {
            self.blend(place.x + 1, y, color, 255);
            self.blend(right, y, color, 255);
        }
    }

    fn blend(&mut self, x: u32, y: u32, color: Color, coverage: u8) {
        if let Some(pixel) = self.image.get_pixel_mut_checked(x, y) {
            *pixel = mixed(*pixel, color, f32::from(coverage) / 255.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_leave_ink_where_they_are_written_and_nowhere_else() {
        let mut canvas = Canvas::new(60, 30);
        canvas.write("Aé狗", Place { x: 10, y: 4 }, Lettering::Small, BLACK);
        let image = canvas.into_image();
        let ink = |from: u32| {
            let width = Lettering::Small.width();
            let columns = 10 + from * width..10 + (from + 1) * width;
            image.enumerate_pixels().filter(|(x, _, pixel)| columns.contains(x) && pixel.0[0] < 128).count()
        };
        assert!((0..3).all(|letter| ink(letter) > 5), "{:?}", [0, 1, 2].map(ink));
        assert!(image.enumerate_pixels().all(|(_, y, pixel)| (4..20).contains(&y) || *pixel == WHITE));
    }

    #[test]
    fn what_is_beyond_the_edge_is_cut() {
        let mut canvas = Canvas::new(8, 8);
        canvas.write("wide", Place { x: 4, y: 2 }, Lettering::Large, BLACK);
        canvas.fill(Place { x: 6, y: 6 }, (9, 9), GREY);
        assert_eq!(*canvas.into_image().get_pixel(7, 7), GREY);
    }
}
