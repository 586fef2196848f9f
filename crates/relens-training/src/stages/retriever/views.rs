//! Views of pictures: the whole, its mirror image, random crops with changed colours. And texts with words left out.

use image::{Rgb, RgbImage, imageops};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use relens_models::image_preprocessing::{PreprocessConfig, SourceRegion, resize_region};

use super::config::ViewConfig;
use crate::{Result, random};

/// One way to look at every picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// As the retriever will see it.
    Full,
    /// The same, mirrored.
    Flipped,
    /// A random resized crop with changed colours, the odd ones mirrored; numbered.
    Crop(usize),
}

impl View {
    /// All views that a configuration asks for; the full one first.
    pub(super) fn all(config: &ViewConfig) -> Vec<Self> {
        let flipped = config.flip.then_some(Self::Flipped);
        std::iter::once(Self::Full).chain(flipped).chain((0..config.crops).map(Self::Crop)).collect()
    }

    /// The kind of file that its features go to.
    pub(super) fn name(self) -> String {
        match self {
            Self::Full => "full".to_owned(),
            Self::Flipped => "flipped".to_owned(),
            Self::Crop(number) => format!("crop{number}"),
        }
    }

    /// Everything besides the picture that decides what is seen.
    pub(super) fn description(self, config: &ViewConfig) -> String {
        match self {
            Self::Full | Self::Flipped => self.name(),
            Self::Crop(number) => format!(
                "crop {number} seed {} area {} aspect {} jitter {}",
                config.seed, config.crop_area, config.crop_aspect, config.color_jitter
            ),
        }
    }

    /// The picture as this view shows it; `name` (the file's) decides what is random, so that a picture is seen the
    /// same way wherever it stands in the data.
    pub(super) fn of(
        self,
        picture: RgbImage,
        name: &str,
        config: &ViewConfig,
        preprocess: &PreprocessConfig,
    ) -> Result<RgbImage> {
        match self {
            Self::Full => Ok(picture),
            Self::Flipped => Ok(imageops::flip_horizontal(&picture)),
            Self::Crop(number) => {
                let mut rng = random::stream(config.seed, &format!("crop {name}"), number as u64);
                let region = random_region(&picture, config, &mut rng);
                let size = preprocess.size;
                let mut crop =
                    resize_region(&picture, region, size.width, size.height, preprocess.interpolation)?;
                jitter_colors(&mut crop, config.color_jitter as f32, &mut rng);
                if number % 2 == 1 {
                    imageops::flip_horizontal_in_place(&mut crop);
                }
                Ok(crop)
            }
        }
    }
}

/// A region of random area and aspect ratio, as torchvision's `RandomResizedCrop` draws it.
fn random_region(picture: &RgbImage, config: &ViewConfig, rng: &mut ChaCha8Rng) -> SourceRegion {
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    let limit = config.crop_aspect.ln();
    for _ in 0..10 {
        let area = width * height * (config.crop_area + (1.0 - config.crop_area) * rng.random::<f64>());
        let aspect = (limit * (2.0 * rng.random::<f64>() - 1.0)).exp() * width / height;
        let (crop_width, crop_height) = ((area * aspect).sqrt(), (area / aspect).sqrt());
        if crop_width <= width && crop_height <= height && crop_width >= 1.0 && crop_height >= 1.0 {
            let left = (width - crop_width) * rng.random::<f64>();
            let top = (height - crop_height) * rng.random::<f64>();
            return SourceRegion { left, top, width: crop_width, height: crop_height };
        }
    }
    SourceRegion::whole(picture)
}

/// Brightness, then contrast around the mean, then saturation, each by a random factor in `[1 − amount, 1 + amount]`.
fn jitter_colors(picture: &mut RgbImage, amount: f32, rng: &mut ChaCha8Rng) {
    if amount == 0.0 || picture.is_empty() {
        return;
    }
    let mut factor = || 1.0 + amount * (2.0 * rng.random::<f32>() - 1.0);
    let (brightness, contrast, saturation) = (factor(), factor(), factor());
    let total: f64 = picture.pixels().map(|pixel| f64::from(grey(pixel))).sum();
    let mean = brightness * (total / f64::from(picture.width()) / f64::from(picture.height())) as f32;
    for pixel in picture.pixels_mut() {
        let own = mean + contrast * (brightness * grey(pixel) - mean);
        for channel in &mut pixel.0 {
            let value = mean + contrast * (brightness * f32::from(*channel) - mean);
            *channel = (own + saturation * (value - own)).round().clamp(0.0, 255.0) as u8;
        }
    }
}

/// Luma of ITU-R 601, as Pillow's `L` mode.
fn grey(pixel: &Rgb<u8>) -> f32 {
    0.299 * f32::from(pixel.0[0]) + 0.587 * f32::from(pixel.0[1]) + 0.114 * f32::from(pixel.0[2])
}

/// A text with each word left out by chance; at least one stays.
pub(super) fn drop_words(text: &str, probability: f64, rng: &mut ChaCha8Rng) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let kept: Vec<&str> = words.iter().copied().filter(|_| rng.random::<f64>() >= probability).collect();
    if kept.is_empty() {
        let index = rng.random_range(0..words.len().max(1));
        return words.get(index).copied().unwrap_or_default().to_owned();
    }
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, 90]))
    }

    #[test]
    fn crops_have_the_towers_size_and_repeat_by_name() {
        let config = ViewConfig::default();
        let preprocess = PreprocessConfig::default();
        let crop = |view: View, name: &str| view.of(picture(), name, &config, &preprocess).unwrap();
        assert_eq!(crop(View::Crop(0), "a.jpg").dimensions(), (224, 224));
        assert_eq!(crop(View::Crop(0), "a.jpg"), crop(View::Crop(0), "a.jpg"));
        assert_ne!(crop(View::Crop(0), "a.jpg"), crop(View::Crop(0), "b.jpg"));
        assert_ne!(crop(View::Crop(0), "a.jpg"), crop(View::Crop(1), "a.jpg"));
    }

    #[test]
    fn regions_lie_inside_and_cover_the_least_area() {
        let config = ViewConfig::default();
        for number in 0..200 {
            let region = random_region(&picture(), &config, &mut random::stream(1, "test", number));
            assert!(region.left >= 0.0 && region.left + region.width <= 40.0 + 1e-9);
            assert!(region.top >= 0.0 && region.top + region.height <= 30.0 + 1e-9);
            assert!(region.width * region.height >= 0.4 * 1200.0 - 1e-6);
        }
    }

    #[test]
    fn no_jitter_changes_nothing() {
        let mut jittered = picture();
        jitter_colors(&mut jittered, 0.0, &mut random::stream(1, "test", 0));
        assert_eq!(jittered, picture());
        jitter_colors(&mut jittered, 0.3, &mut random::stream(1, "test", 0));
        assert_ne!(jittered, picture());
    }

    #[test]
    fn at_least_one_word_stays() {
        let mut rng = random::stream(1, "test", 0);
        assert_eq!(drop_words("two dogs run", 0.0, &mut rng), "two dogs run");
        for _ in 0..50 {
            assert!(!drop_words("two dogs run", 0.99, &mut rng).is_empty());
        }
        assert_eq!(drop_words("", 0.5, &mut rng), "");
    }
}
