//! What a model's configuration asks to be done to every picture.

use std::borrow::Cow;
use std::ops::Deref;

use candle_core::{Device, Tensor};
use image::{Rgb, RgbImage, imageops};
use rayon::prelude::*;

use super::resize::{PassOrder, Resampling, RgbPixels, SourceRegion, resize};
use super::{PreprocessConfig, ResizeMode};
use crate::{ModelError, Result};

/// Fits pictures to a tower's input and normalises them.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    config: PreprocessConfig,
    /// The normalised value of each of the 256 levels, channel by channel.
    levels: Box<[[f32; 3]; 256]>,
}

impl Preprocessor {
    /// A preprocessor for `config`.
    ///
    /// # Errors
    /// [`ModelError::Argument`] if the size is zero or beyond 4,096, or a mean or deviation is not usable.
    pub fn new(config: PreprocessConfig) -> Result<Self> {
        const LARGEST_SIDE: u32 = 4096;
        let sides = 1..=LARGEST_SIDE;
        let usable = sides.contains(&config.size.height)
            && sides.contains(&config.size.width)
            && config.mean.iter().all(|mean| mean.is_finite())
            && config.std.iter().all(|std| std.is_finite() && *std > 0.0);
        if !usable {
            return Err(ModelError::Argument {
                operation: "Preprocessor::new",
                expected: format!("sides from 1 to {LARGEST_SIDE}, finite `mean`, positive `std`"),
                found: format!("size {:?}, mean {:?}, std {:?}", config.size, config.mean, config.std),
            });
        }
        let mut levels = Box::new([[0.0; 3]; 256]);
        for (level, normalised) in (0u8..=255).zip(levels.iter_mut()) {
            for (channel, value) in normalised.iter_mut().enumerate() {
                // The order of torchvision's ToTensor and Normalize, so that the bits agree.
                *value = (f32::from(level) / 255.0 - config.mean[channel]) / config.std[channel];
            }
        }
        Ok(Self { config, levels })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &PreprocessConfig {
        &self.config
    }

    /// The picture at the tower's size, not normalised; the picture itself if it has that size.
    ///
    /// # Errors
    /// [`ModelError::Argument`] if the picture is empty.
    pub fn fit<'a>(&self, image: &'a RgbImage) -> Result<Cow<'a, RgbImage>> {
        let size = self.config.size;
        if image.dimensions() == (size.width, size.height) {
            return Ok(Cow::Borrowed(image));
        }
        self.fit_pixels(image).map(Cow::Owned)
    }

    /// The same for pixels that somebody else may own: only the result is new memory.
    ///
    /// # Errors
    /// [`ModelError::Argument`] if the picture is empty.
    pub fn fit_pixels<C: Deref<Target = [u8]>>(&self, image: &RgbPixels<C>) -> Result<RgbImage> {
        let size = self.config.size;
        match self.config.resize_mode {
            ResizeMode::Squash => resize(image, size.width, size.height, self.config.interpolation),
            ResizeMode::Shortest => self.fit_shortest(image),
            ResizeMode::Longest => self.fit_longest(image),
        }
    }

    /// Fits and normalises pictures, in parallel.
    ///
    /// # Shapes
    /// - returns: `[images, height, width, 3]`, f32
    ///
    /// # Errors
    /// [`ModelError::Argument`] if a picture is empty.
    pub fn batch(&self, images: &[RgbImage]) -> Result<Tensor> {
        let (height, width) = (self.config.size.height as usize, self.config.size.width as usize);
        let image_length = height * width * 3;
        let mut values = vec![0.0; images.len() * image_length];
        values
            .par_chunks_mut(image_length)
            .zip(images)
            .try_for_each(|(normalised, image)| self.normalise_into(image, normalised))?;
        Ok(Tensor::from_vec(values, (images.len(), height, width, 3), &Device::Cpu)?)
    }

    /// Fits one picture and writes it normalised, row by row, channels innermost.
    ///
    /// # Shapes
    /// - `normalised`: `[height × width × 3]`
    ///
    /// # Errors
    /// [`ModelError::Argument`] if the picture is empty or `normalised` has another length.
    pub fn normalise_into(&self, image: &RgbImage, normalised: &mut [f32]) -> Result<()> {
        let fitted = self.fit(image)?;
        if fitted.len() != normalised.len() {
            return Err(ModelError::Argument {
                operation: "Preprocessor::normalise_into",
                expected: format!("room for {} values", fitted.len()),
                found: normalised.len().to_string(),
            });
        }
        for (values, levels) in normalised.chunks_exact_mut(3).zip(fitted.chunks_exact(3)) {
            for ((value, &level), channel) in values.iter_mut().zip(levels).zip(0..3) {
                // A look-up: there are 256 levels, and a division for every pixel would cost more than the resizing.
                *value = self.levels[usize::from(level)][channel];
            }
        }
        Ok(())
    }

    /// Resizing and cropping in one: only what survives the crop is computed, however long the picture is.
    fn fit_shortest<C: Deref<Target = [u8]>>(&self, image: &RgbPixels<C>) -> Result<RgbImage> {
        let (source_width, source_height) = image.dimensions();
        let size = self.config.size;
        // The size of the whole resized image, of which only the crop is made: resampling commutes with cropping.
        let (width, height) = shortest_size(image.dimensions(), (size.width, size.height));
        let (left, top) = (centred(width, size.width), centred(height, size.height));
        let horizontal = f64::from(source_width) / width;
        let vertical = f64::from(source_height) / height;
        let region = SourceRegion {
            left: left * horizontal,
            top: top * vertical,
            width: f64::from(size.width) * horizontal,
            height: f64::from(size.height) * vertical,
        };
        let source = (f64::from(source_width), f64::from(source_height));
        let order = PassOrder::of(source, (width, height));
        let resampling = Resampling { interpolation: self.config.interpolation, order };
        resampling.apply(image, region, size.width, size.height)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the tower's size")]
    fn fit_longest<C: Deref<Target = [u8]>>(&self, image: &RgbPixels<C>) -> Result<RgbImage> {
        let (source_width, source_height) = image.dimensions();
        let size = self.config.size;
        let ratio = (f64::from(source_height) / f64::from(size.height))
            .max(f64::from(source_width) / f64::from(size.width));
        let width = (f64::from(source_width) / ratio).round_ties_even().max(1.0) as u32;
        let height = (f64::from(source_height) / ratio).round_ties_even().max(1.0) as u32;
        let (width, height) = (width.min(size.width), height.min(size.height));
        let resized = resize(image, width, height, self.config.interpolation)?;
        let mut padded = RgbImage::from_pixel(size.width, size.height, Rgb([self.config.fill_color; 3]));
        let (left, top) = ((size.width - width) / 2, (size.height - height) / 2);
        imageops::replace(&mut padded, &resized, i64::from(left), i64::from(top));
        Ok(padded)
    }
}

/// Width and height after the shorter side is fitted: whole numbers, rounded as torchvision (square targets) and
/// open_clip (others) round them. Floating point, because the longer side of a very thin picture has no bound.
fn shortest_size((width, height): (u32, u32), (target_width, target_height): (u32, u32)) -> (f64, f64) {
    let (width, height) = (f64::from(width), f64::from(height));
    let (target_width, target_height) = (f64::from(target_width), f64::from(target_height));
    if target_width == target_height {
        let (short, long) = (width.min(height), width.max(height));
        let new_long = (target_width * long / short).floor();
        return if width <= height { (target_width, new_long) } else { (new_long, target_width) };
    }
    let ratio = (height / target_height).min(width / target_width);
    let new_width = (width / ratio).round_ties_even().max(target_width);
    let new_height = (height / ratio).round_ties_even().max(target_height);
    (new_width, new_height)
}

/// Where a centred crop of `crop` begins, as torchvision's `CenterCrop` rounds it.
fn centred(side: f64, crop: u32) -> f64 {
    ((side - f64::from(crop)) / 2.0).round_ties_even()
}
