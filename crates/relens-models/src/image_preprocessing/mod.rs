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
mod config;
mod decode;
mod jpeg;
mod limits;
mod preprocessor;
mod resize;

pub use animation::{decode_animation, uniform_positions};
pub use config::{ColorMode, ImageSize, PreprocessConfig, ResizeMode};
pub use decode::{decode_image, decode_image_bytes, decode_image_within, oriented};
pub use image::RgbImage;
pub use limits::DecodeLimits;
pub use preprocessor::Preprocessor;
pub use resize::{Interpolation, SourceRegion, resize, resize_region};
