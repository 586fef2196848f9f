//! The first hits of a search on one sheet.

use std::io::Cursor;
use std::path::Path;

use anyhow::Result;
use image::imageops;
use image::{Rgb, RgbImage};
use relens::pictures::video::read_frames;
use relens_models::image_preprocessing::sides_by_longer;

use crate::output_file::{drawing_format, write_whole};
use crate::progress;

/// The side of the square that a picture is fitted into, and the room around it, in pixels.
const SIDE: u32 = 240;
const GAP: u32 = 12;
/// Pictures side by side.
const COLUMNS: u32 = 5;
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);

/// Draws the pictures, the best first, row by row. One that cannot be read leaves its place empty, and is named.
pub(crate) fn draw(pictures: &[&Path], path: &Path) -> Result<()> {
    let count = u32::try_from(pictures.len()).unwrap_or(u32::MAX).max(1);
    let (columns, rows) = (count.min(COLUMNS), count.div_ceil(COLUMNS));
    let mut sheet = RgbImage::from_pixel(length(columns), length(rows), PAPER);
    for (position, picture) in (0u32..).zip(pictures) {
        let first = match read_frames(picture) {
            Ok(frames) => frames.into_iter().next(),
            Err(error) => {
                progress::note(&format!("not on the sheet: {error}"));
                None
            }
        };
        let Some(first) = first else { continue };
        let (width, height) = sides_by_longer(&first, SIDE);
        let small = imageops::thumbnail(&first, width, height);
        let (x, y) = (length(position % COLUMNS), length(position / COLUMNS));
        let middle = |side: u32| (SIDE - side) / 2;
        let (x, y) = (x + middle(small.width()), y + middle(small.height()));
        imageops::overlay(&mut sheet, &small, i64::from(x), i64::from(y));
    }
    let mut bytes = Cursor::new(Vec::new());
    sheet.write_to(&mut bytes, drawing_format(path)?)?;
    write_whole(path, bytes.get_ref())
}

/// Where the picture at this position begins, which is also how long a sheet of so many is.
fn length(position: u32) -> u32 {
    GAP + position * (SIDE + GAP)
}
