//! Pillow's antialiased resampling.
//!
//! Pillow filters along one axis, rounds to 8 bits, then filters along the other; the filter widens when a picture
//! shrinks. `fast_image_resize` has the same filters, but always takes the columns first, so that the passes are
//! made one by one here where Pillow takes the rows first.

use std::ops::Deref;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{ImageBuffer, Rgb, RgbImage};
use serde::{Deserialize, Serialize};

use crate::{ModelError, Result};

/// 8-bit RGB pixels in whatever holds them: a vector as in [`RgbImage`], or a slice of somebody else's memory.
pub type RgbPixels<C> = ImageBuffer<Rgb<u8>, C>;

/// A resampling filter, named as in open_clip's and timm's configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// A triangle, two pixels wide.
    Bilinear,
    /// Catmull-Rom (a = −0.5), four pixels wide. open_clip's training-only `random` is read as this one too.
    #[serde(alias = "random")]
    Bicubic,
    /// Lanczos, six pixels wide.
    Lanczos,
}

impl Interpolation {
    fn filter(self) -> FilterType {
        match self {
            Self::Bilinear => FilterType::Bilinear,
            Self::Bicubic => FilterType::CatmullRom,
            Self::Lanczos => FilterType::Lanczos3,
        }
    }

    /// Half the filter's width, in pixels of the coarser of the two grids.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }
}

/// The part of a picture that is resized, in its pixels; fractions are allowed. Pixels around it still weigh in
/// at its edges, as with the `box` of Pillow's `resize`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceRegion {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Columns.
    pub width: f64,
    /// Rows.
    pub height: f64,
}

impl SourceRegion {
    /// The whole picture.
    #[must_use]
    pub fn whole<C: Deref<Target = [u8]>>(image: &RgbPixels<C>) -> Self {
        let (width, height) = image.dimensions();
        Self { left: 0.0, top: 0.0, width: f64::from(width), height: f64::from(height) }
    }

    fn size(&self) -> (f64, f64) {
        (self.width, self.height)
    }

    fn fits<C: Deref<Target = [u8]>>(&self, image: &RgbPixels<C>) -> bool {
        // Fractions computed by the caller may miss the edge by a rounding error.
        const SLACK: f64 = 1e-6;
        let (width, height) = image.dimensions();
        let finite = [self.left, self.top, self.width, self.height].iter().all(|value| value.is_finite());
        finite
            && self.left >= 0.0
            && self.top >= 0.0
            && self.width > 0.0
            && self.height > 0.0
            && self.left + self.width <= f64::from(width) + SLACK
            && self.top + self.height <= f64::from(height) + SLACK
    }
}

/// Width and height of the picture once its longer side is `longer` pixels, no side below one.
pub fn sides_by_longer(image: &RgbImage, longer: u32) -> (u32, u32) {
    let (width, height) = image.dimensions();
    let present = u64::from(width.max(height).max(1));
    let side = |length: u32| {
        let scaled = u64::from(length) * u64::from(longer) / present;
        u32::try_from(scaled).unwrap_or(longer).max(1)
    };
    (side(width), side(height))
}

/// Resizes a whole picture to `width` × `height`, as Pillow's `resize` does.
///
/// # Errors
/// [`ModelError::Argument`] if either picture would be empty.
pub fn resize<C: Deref<Target = [u8]>>(
    image: &RgbPixels<C>,
    width: u32,
    height: u32,
    interpolation: Interpolation,
) -> Result<RgbImage> {
    resize_region(image, SourceRegion::whole(image), width, height, interpolation)
}

/// Resizes a part of a picture to `width` × `height`, as Pillow's `resize` with a `box` does.
///
/// # Errors
/// [`ModelError::Argument`] if the region is empty or reaches out of the picture, or the result would be empty.
pub fn resize_region<C: Deref<Target = [u8]>>(
    image: &RgbPixels<C>,
    region: SourceRegion,
    width: u32,
    height: u32,
    interpolation: Interpolation,
) -> Result<RgbImage> {
    let order = PassOrder::of(region.size(), (f64::from(width), f64::from(height)));
    Resampling { interpolation, order }.apply(image, region, width, height)
}

/// Which axis is filtered first; it shows in the last bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PassOrder {
    /// Along rows, then along columns.
    RowsFirst,
    /// Along columns, then along rows.
    ColumnsFirst,
}

impl PassOrder {
    /// The order for resizing `(width, height)` to `(width, height)`. Since version 13 Pillow takes the columns
    /// first when the height shrinks by more than twice as many pixels as the width; before, never.
    pub(super) fn of(source: (f64, f64), target: (f64, f64)) -> Self {
        let (narrower, lower) = (source.0 - target.0, source.1 - target.1);
        if lower > 0.0 && lower > 2.0 * narrower { Self::ColumnsFirst } else { Self::RowsFirst }
    }
}

/// How a region is resampled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resampling {
    pub(super) interpolation: Interpolation,
    pub(super) order: PassOrder,
}

impl Resampling {
    pub(super) fn apply<C: Deref<Target = [u8]>>(
        self,
        image: &RgbPixels<C>,
        region: SourceRegion,
        width: u32,
        height: u32,
    ) -> Result<RgbImage> {
        if !region.fits(image) || width == 0 || height == 0 {
            return Err(ModelError::Argument {
                operation: "resize_region",
                expected: format!(
                    "a region within {:?} and a result of at least one pixel",
                    image.dimensions()
                ),
                found: format!("{region:?} to {width} × {height}"),
            });
        }
        if self.order == PassOrder::ColumnsFirst {
            return self.pass(image, region, width, height);
        }
        // Only rows that the second pass reads are filtered: of a long image, the crop needs few.
        let (first_row, rows) = self.rows_needed(image, region, height);
        let band = SourceRegion { top: f64::from(first_row), height: f64::from(rows), ..region };
        let filtered_rows = self.pass(image, band, width, rows)?;
        let rest = SourceRegion {
            left: 0.0,
            top: region.top - f64::from(first_row),
            width: f64::from(width),
            height: region.height,
        };
        self.pass(&filtered_rows, rest, width, height)
    }

    /// One call of the resizer: an axis along which nothing changes is left alone.
    fn pass<C: Deref<Target = [u8]>>(
        self,
        image: &RgbPixels<C>,
        region: SourceRegion,
        width: u32,
        height: u32,
    ) -> Result<RgbImage> {
        let (source_width, source_height) = image.dimensions();
        let mut resized = RgbImage::new(width, height);
        let source = ImageRef::new(source_width, source_height, image, PixelType::U8x3).map_err(failed)?;
        let mut target =
            Image::from_slice_u8(width, height, &mut resized, PixelType::U8x3).map_err(failed)?;
        let options =
            ResizeOptions::new().resize_alg(ResizeAlg::Convolution(self.interpolation.filter())).crop(
                region.left,
                region.top,
                // The slack that `fits` allows is cut off again: the library allows none.
                region.width.min(f64::from(source_width) - region.left),
                region.height.min(f64::from(source_height) - region.top),
            );
        Resizer::new().resize(&source, &mut target, &options).map_err(failed)?;
        Ok(resized)
    }

    /// The first row and the number of rows that the pass along columns will look at.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the picture's rows"
    )]
    fn rows_needed<C: Deref<Target = [u8]>>(
        self,
        image: &RgbPixels<C>,
        region: SourceRegion,
        height: u32,
    ) -> (u32, u32) {
        let scale = (region.height / f64::from(height)).max(1.0);
        let reach = self.interpolation.support() * scale + 1.0;
        let rows = f64::from(image.height());
        let first = (region.top - reach).floor().clamp(0.0, rows - 1.0) as u32;
        let last = (region.top + region.height + reach).ceil().clamp(1.0, rows) as u32;
        (first, last.saturating_sub(first).max(1))
    }
}

fn failed(error: impl std::fmt::Display) -> ModelError {
    ModelError::Argument {
        operation: "resize_region",
        expected: "a picture that can be resized".to_string(),
        found: error.to_string(),
    }
}
