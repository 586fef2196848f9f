//! From a picture file to the numbers that an image tower reads.
//!
//! Three steps, each usable alone:
//!
//! 1. [`decode_image`] reads a file by its content, within [`DecodeLimits`], upright (EXIF) and as 8-bit RGB;
//! 2. [`resize_region`] resamples like Pillow: antialiased, rows and columns rounded to 8 bits between the passes;
//! 3. [`Preprocessor`] does what a model's `preprocess_cfg` says (open_clip's field names) and normalises into a
//!    batch `[images, height, width, 3]`.
//!
//! ```
//! use relens_models::image_preprocessing::{PreprocessConfig, Preprocessor, RgbImage};
//!
//! let preprocessor = Preprocessor::new(PreprocessConfig::default())?;
//! let batch = preprocessor.batch(&[RgbImage::new(320, 200), RgbImage::new(64, 64)])?;
//! assert_eq!(batch.dims(), [2, 224, 224, 3]);
//! # Ok::<(), relens_models::ModelError>(())
//! ```

mod animation;
mod decode;
mod jpeg;
mod limits;
mod preprocessor;
mod resize;

use serde::{Deserialize, Serialize};

pub use animation::{decode_animation, uniform_positions};
pub use decode::{decode_image, decode_image_bytes, decode_image_within, oriented, to_rgb};
pub use image::RgbImage;
pub use limits::DecodeLimits;
pub use preprocessor::Preprocessor;
pub use resize::{Interpolation, RgbPixels, SourceRegion, resize, resize_region, sides_by_longer};

/// What happens to a picture before the tower sees it: open_clip's `preprocess_cfg`.
///
/// Defaults are open_clip's (`PreprocessCfg` in its `transform.py`). Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreprocessConfig {
    /// Height and width of the tower's input, in pixels. Default: 224 × 224.
    pub size: ImageSize,
    /// The colour mode; only `RGB` exists. Default: `RGB`.
    pub mode: ColorMode,
    /// Mean of each channel of a picture scaled to 0–1. Default: OpenAI CLIP's.
    pub mean: [f32; 3],
    /// Standard deviation of each channel of a picture scaled to 0–1. Default: OpenAI CLIP's.
    pub std: [f32; 3],
    /// The resampling filter. Default: bicubic.
    pub interpolation: Interpolation,
    /// How a picture of another shape is fitted. Default: shortest.
    pub resize_mode: ResizeMode,
    /// Grey level of the padding that [`ResizeMode::Longest`] adds. Default: 0.
    pub fill_color: u8,
}

impl Default for PreprocessConfig {
    fn default() -> Self {
        Self {
            size: ImageSize { height: 224, width: 224 },
            mode: ColorMode::Rgb,
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
            interpolation: Interpolation::Bicubic,
            resize_mode: ResizeMode::Shortest,
            fill_color: 0,
        }
    }
}

/// The colour mode of the tower's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColorMode {
    /// Red, green, blue.
    #[serde(rename = "RGB")]
    Rgb,
}

/// How a picture is fitted to the tower's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResizeMode {
    /// Both sides become the tower's, whatever that does to the proportions.
    Squash,
    /// The shorter side is fitted, the centre is cut out.
    Shortest,
    /// The longer side is fitted, the rest is filled with `fill_color`.
    Longest,
}

/// Height and width in pixels; written as one number when they are equal, else as `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SizeForm", into = "SizeForm")]
pub struct ImageSize {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

impl ImageSize {
    /// A square of `side` × `side` pixels.
    #[must_use]
    pub fn square(side: u32) -> Self {
        Self { height: side, width: side }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum SizeForm {
    Side(u32),
    HeightWidth([u32; 2]),
}

impl From<SizeForm> for ImageSize {
    fn from(form: SizeForm) -> Self {
        match form {
            SizeForm::Side(side) => Self::square(side),
            SizeForm::HeightWidth([height, width]) => Self { height, width },
        }
    }
}

impl From<ImageSize> for SizeForm {
    fn from(size: ImageSize) -> Self {
        if size.height == size.width {
            Self::Side(size.height)
        } else {
            Self::HeightWidth([size.height, size.width])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_open_clip_configuration() {
        let json = r#"{"size": [192, 256], "mode": "RGB", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
                       "interpolation": "bilinear", "resize_mode": "squash", "fill_color": 7}"#;
        let config: PreprocessConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.size, ImageSize { height: 192, width: 256 });
        assert_eq!(config.interpolation, Interpolation::Bilinear);
        assert_eq!(config.resize_mode, ResizeMode::Squash);
        assert_eq!(config.fill_color, 7);
        let again: PreprocessConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn fills_in_the_defaults_and_refuses_unknown_fields() {
        let config: PreprocessConfig = serde_json::from_str(r#"{"size": 260}"#).unwrap();
        assert_eq!(config, PreprocessConfig { size: ImageSize::square(260), ..PreprocessConfig::default() });
        assert!(serde_json::from_str::<PreprocessConfig>(r#"{"sise": 260}"#).is_err());
        assert!(serde_json::from_str::<PreprocessConfig>(r#"{"mode": "L"}"#).is_err());
    }
}
